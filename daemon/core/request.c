/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Checks requests of callers for contradictions. It knows neither regions nor callers, only the request itself. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "basic/util.h"
#include "core/request.h"

void create_request_done(CreateRequest *request) {
        free(request->name);
        free(request->label);
        safe_close(request->fd);
        *request = (CreateRequest) CREATE_REQUEST_INIT;
}

int create_request_check(const CreateRequest *request, sd_bus_error *error) {
        char numa[NUMA_TEXT_MAX];
        int flags;

        if (request->backing == BACKING_FILE && request->fd < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Backing 'file' requires the option 'fd', an open file descriptor");
        if (request->backing != BACKING_FILE && request->fd >= 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'fd' requires backing 'file', not '%s'",
                                         backing_to_string(request->backing));
        if (request->backing == BACKING_EMPTY && request->populate)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'populate' is not possible with backing 'empty', which has no memory");
        if (request->hugepages != HUGEPAGES_DEFAULT && request->backing != BACKING_ANONYMOUS &&
            request->backing != BACKING_MEMFD)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'hugepages' requires backing 'anonymous' or 'memfd', not '%s'",
                                         backing_to_string(request->backing));
        /* All users of a file share its pages, and the kernel ignores policies when it places them. */
        if (request->numa.mode != NUMA_DEFAULT && request->backing != BACKING_ANONYMOUS &&
            request->backing != BACKING_MEMFD)
                return sd_bus_error_setf(
                        error, SD_BUS_ERROR_INVALID_ARGS,
                        "Option 'numa' is '%.100s', which requires backing 'anonymous' or 'memfd', not '%s'",
                        numa_format(&request->numa, numa), backing_to_string(request->backing));
        if (request->maximum_set && request->maximum < request->size)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'maximum' is %" PRIu64 " bytes: expected at least the size, %" PRIu64
                                         " bytes",
                                         request->maximum, request->size);
        if (request->maximum_set && request->backing != BACKING_ANONYMOUS && request->backing != BACKING_MEMFD)
                return sd_bus_error_setf(
                        error, SD_BUS_ERROR_INVALID_ARGS,
                        "Option 'maximum' requires backing 'anonymous' or 'memfd', not '%s', which cannot grow",
                        backing_to_string(request->backing));
        if (request->final_mode_set && (request->final_mode & ~0777u || request->final_mode == 0))
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'final-mode' is %#o: expected permission bits, 1 to 0777",
                                         (unsigned) request->final_mode);
        if (request->final_mode_set && request->mode != 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'final-mode' requires mode 0, not %#o", (unsigned) request->mode);
        if (request->linger_usec > 0 && request->lifetime != LIFETIME_WHILE_LEASED)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'linger' requires lifetime 'while-leased'");
        if (request->fd >= 0) {
                /* The donor checks the rest, because reading the file's attributes may sleep. */
                flags = fcntl(request->fd, F_GETFL);
                if (flags < 0)
                        return -errno;
                if ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
                        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                                 "Option 'fd' is not open for reading, so it cannot be mapped");
        }
        return 0;
}
