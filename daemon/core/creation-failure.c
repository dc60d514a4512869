/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Turns the result of a donor that has failed into an error for the caller: what failed at which stage, and what the caller can
 * do. It knows only the record of the region.
 */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "core/creation-failure.h"
#include "errors.h"

/* Completes "Option 'fd' is ... a regular file". */
static const char *what_instead(uint64_t mode) {
        switch (mode & S_IFMT) {
        case S_IFDIR:
                return "a directory, not";
        case S_IFCHR:
        case S_IFBLK:
                return "a device, not";
        case S_IFIFO:
                return "a pipe, not";
        case S_IFSOCK:
                return "a socket, not";
        default:
                return "not";
        }
}

void creation_failure(const RegionRecord *record, bool address_chosen, const DonorResult *res, sd_bus_error *error) {
        const char *backing = backing_to_string(record->backing), *text = strerror(res->error);
        char numa[NUMA_TEXT_MAX];

        if (res->error == 0) {
                (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "The process that was creating region '%s' was killed (out of memory?)",
                                         record->name);
                return;
        }
        switch (res->stage) {
        case DONOR_RANGE:
                if ((res->error == EEXIST || res->error == EPERM) && address_chosen)
                        (void) sd_bus_error_setf(
                                error, ERROR_ADDRESS_IN_USE,
                                "Address %#" PRIx64 ", which the broker chose for a window of %" PRIu64
                                " bytes, is in use in the process that creates the region; try again for "
                                "another address, or set 'address'",
                                record->address, record->length);
                else if (res->error == EEXIST || res->error == EPERM)
                        (void) sd_bus_error_setf(
                                error, ERROR_ADDRESS_IN_USE,
                                "Address %#" PRIx64 " with %" PRIu64
                                " bytes overlaps mappings of ordinary processes; omit 'address' to let the broker choose, or set another",
                                record->address, record->length);
                else
                        (void) sd_bus_error_setf(error, ERROR_NO_ADDRESS_SPACE,
                                                 "A window of %" PRIu64 " bytes at address %#" PRIx64
                                                 " does not fit in this machine's address space: %s",
                                                 record->length, record->address, text);
                return;
        case DONOR_NODES:
                if (res->error == EOPNOTSUPP)
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_NOT_SUPPORTED,
                                                 "Option 'numa' is '%.100s', but the kernel was built without NUMA",
                                                 numa_format(&record->numa, numa));
                else if (res->error == EINVAL)
                        (void) sd_bus_error_setf(
                                error, SD_BUS_ERROR_INVALID_ARGS,
                                "Option 'numa' is '%.100s', but node %" PRIu64
                                " has no memory that the broker may use (see /sys/devices/system/node/has_memory)",
                                numa_format(&record->numa, numa), res->value);
                else
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                                 "Cannot check the nodes of option 'numa': %s", text);
                return;
        case DONOR_POLICY:
                (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "The kernel refused the memory policy '%.100s' for region '%s': %s",
                                         numa_format(&record->numa, numa), record->name, text);
                return;
        case DONOR_MSHARE:
                if (res->error == EEXIST)
                        (void) sd_bus_error_setf(error, ERROR_REGION_EXISTS,
                                                 "msharefs already has a region '%s' that this broker does not know",
                                                 record->name);
                else if (res->error == ENOSYS || res->error == ENODEV)
                        (void) sd_bus_error_setf(error, ERROR_KERNEL_UNSUPPORTED,
                                                 "The kernel cannot create regions (%s): is it Linux 6.12 with mshare, "
                                                 "and is msharefs mounted?",
                                                 text);
                else
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                                 "The kernel refused to create region '%s': %s", record->name, text);
                return;
        case DONOR_FILE:
                if (res->error == EBADF)
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Option 'fd' is %s a regular file",
                                                 what_instead(res->value));
                else if (res->error == ERANGE)
                        (void) sd_bus_error_setf(error, ERROR_INVALID_SIZE,
                                                 "The file has %" PRIu64 " bytes, but the region needs %" PRIu64
                                                 " bytes",
                                                 res->value, record->size);
                else
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot prepare %s memory: %s", backing,
                                                 text);
                return;
        case DONOR_MMAP:
                if (res->error == EOPNOTSUPP)
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_NOT_SUPPORTED,
                                                 "This kernel does not support %s memory in regions", backing);
                else if (res->error == ENOMEM)
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_NO_MEMORY,
                                                 "Not enough memory for %" PRIu64 " bytes of backing '%s'%s",
                                                 record->size, backing,
                                                 record->backing == BACKING_HUGETLB ? " (see vm.nr_hugepages)" : "");
                else
                        (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot map %s memory in the region: %s",
                                                 backing, text);
                return;
        case DONOR_ADVISE:
                (void) sd_bus_error_setf(
                        error, SD_BUS_ERROR_NOT_SUPPORTED,
                        "Option 'hugepages' is '%s', which the kernel does not support for this region: %s",
                        hugepages_to_string(record->hugepages), text);
                return;
        case DONOR_MEMORY:
                (void) sd_bus_error_setf(
                        error, SD_BUS_ERROR_NO_MEMORY,
                        "Not enough memory to populate region '%s': %" PRIu64 " of %" PRIu64 " bytes done; see %s",
                        record->name, res->value, record->size,
                        record->numa.mode == NUMA_BIND ? "MemFree on the nodes of its memory policy in "
                                                         "/sys/devices/system/node/node*/meminfo"
                                                       : "MemAvailable and SwapFree in /proc/meminfo");
                return;
        case DONOR_POPULATE:
                (void) sd_bus_error_setf(error, res->error == ENOMEM ? SD_BUS_ERROR_NO_MEMORY : SD_BUS_ERROR_FAILED,
                                         "Cannot populate region '%s', %" PRIu64 " of %" PRIu64 " bytes done: %s",
                                         record->name, res->value, record->size, text);
                return;
        default:
                (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot create region '%s': %s", record->name,
                                         text);
        }
}
