/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Attaches a region, in one of two ways. By descriptor: mmap() of the region's file, which needs no path and no system call
 * that a filter does not know. By name: mshare(), if the broker returned no descriptor or the kernel does not map it. It does
 * not ask the broker.
 */

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "message.h"
#include "names.h"
#include "region-attach.h"
#include "util.h"

static int attach_failed(const mshare_region *region, int r, char **ret_message) {
        const char *name = region->name;
        char buf[128];

        switch (-r) {
        case ENOSYS:
                return message_region(ret_message, r, "attach", name,
                                      "this process may not call mshare(): the kernel was built without "
                                      "CONFIG_MSHARE, or a system call filter refuses it");
        case ENODEV:
                return message_region(ret_message, r, "attach", name, "msharefs is not mounted on " MSHAREFS_PATH);
        case EEXIST:
                return message_region(ret_message, r, "attach", name,
                                      "this process already has something mapped in its window, %llu bytes at 0x%llx",
                                      (unsigned long long) region->lease.length,
                                      (unsigned long long) region->lease.address);
        case ENOMEM:
                return message_region(
                        ret_message, r, "attach", name,
                        "not enough memory, address space (RLIMIT_AS; the window has %llu bytes), mappings "
                        "(vm.max_map_count) or windows (a process has at most 64)",
                        (unsigned long long) region->lease.length);
        case ENOENT:
                return message_region(ret_message, r, "attach", name, "it was removed after the broker had leased it");
        case EPERM:
                /* The kernel itself returns this only when a region is created, not when it is attached. */
                return message_region(ret_message, r, "attach", name,
                                      "this process may not call mshare(): a system call filter refuses it");
        case EROFS:
                return message_region(
                        ret_message, r, "attach", name,
                        "%s is read-only for this process; a unit with ProtectKernelTunables= needs ReadWritePaths=%s",
                        MSHAREFS_PATH, MSHAREFS_PATH);
        case EACCES:
                return message_region(ret_message, r, "attach", name, "its owner and mode do not allow %s access",
                                      region->oflag == O_RDWR ? "read and write" : "read");
        default:
                return message_region(ret_message, r, "attach", name, "%s", message_errno(r, buf, sizeof(buf)));
        }
}

static int differs(const mshare_region *region, const struct mshare_info *info, char **ret_message) {
        return message_region(ret_message, -ESTALE, "verify", region->name,
                              "the broker reported %llu bytes at 0x%llx, the kernel reports %llu bytes at 0x%llx",
                              (unsigned long long) region->lease.length, (unsigned long long) region->lease.address,
                              (unsigned long long) info->size, (unsigned long long) info->start);
}

/* Check that the file describes the same region as the broker's answer. path is for the message. */
static int verify_file(const mshare_region *region, int fd, const char *path, char **ret_message) {
        struct mshare_info info = {};
        ssize_t n;

        n = pread(fd, &info, sizeof(info), 0);
        if (n != sizeof(info))
                return message_region(ret_message, n < 0 ? -xerrno() : -EBADMSG, "verify", region->name,
                                      "%s does not contain the region's address", path);
        if (info.start != region->lease.address || info.size != region->lease.length)
                return differs(region, &info, ret_message);
        return 0;
}

/* Between the broker's answer and mshare(), another region can get the name. So compare with what the kernel says. */
static int verify_name(const mshare_region *region, char **ret_message) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closep) int fd = -1;
        char buf[128];
        int r;

        if (asprintf(&path, MSHAREFS_PATH "/%s", region->name) < 0) {
                path = NULL;
                return message_region(ret_message, -ENOMEM, "verify", region->name, "out of memory");
        }

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0) {
                r = -xerrno();
                return message_region(ret_message, r, "verify", region->name, "%s: %s", path,
                                      message_errno(r, buf, sizeof(buf)));
        }
        return verify_file(region, fd, path, ret_message);
}

static int attach_by_name(mshare_region *region, char **ret_message) {
        void *address = handle_address(region);
        int r;

        if (mshare(region->name, address, region->lease.length, region->oflag, 0) < 0)
                return attach_failed(region, -xerrno(), ret_message);

        r = verify_name(region, ret_message);
        if (r < 0)
                (void) munmap(address, region->lease.length);
        return r;
}

/*
 * The broker has opened the file in a mount namespace of its own, which ends with the broker: /proc/PID/maps then shows the
 * mapping as "/NAME". If this process sees the same file, open it here. The caller closes the descriptor; -1 if there is none.
 */
static int open_same(const mshare_region *region) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closep) int fd = -1;
        struct stat ours, theirs;

        if (asprintf(&path, MSHAREFS_PATH "/%s", region->name) < 0) {
                path = NULL;
                return -1;
        }
        fd = open(path, region->oflag | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &ours) < 0 || fstat(region->lease.region.fd, &theirs) < 0 ||
            ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
                return -1;
        return TAKE_FD(fd);
}

/* 1: done; 0: this kernel does not map regions' files. */
static int attach_by_descriptor(mshare_region *region, char **ret_message) {
        int prot = region->oflag == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ, r;
        struct mshare_info info = { .size = region->lease.length };
        _cleanup_(closep) int same = -1;
        void *p;

        r = verify_file(region, region->lease.region.fd, "the descriptor from the broker", ret_message);
        if (r < 0)
                return r;

        same = open_same(region);
        p = mmap(handle_address(region), region->lease.length, prot, MAP_SHARED,
                 same >= 0 ? same : region->lease.region.fd, 0);
        if (p == MAP_FAILED && errno == ENODEV)
                return 0;
        if (p == MAP_FAILED && errno == EACCES)
                return message_region(ret_message, -EACCES, "attach", region->name,
                                      "the kernel does not allow %s access by the descriptor from the broker: the "
                                      "region is read-only for everyone, or a security module refuses it",
                                      region->oflag == O_RDWR ? "read and write" : "read");
        if (p == MAP_FAILED)
                return attach_failed(region, -xerrno(), ret_message);

        /* The kernel attaches a region only at its own address. */
        if (p != handle_address(region)) {
                (void) munmap(p, region->lease.length);
                info.start = (uintptr_t) p;
                return differs(region, &info, ret_message);
        }
        return 1;
}

int region_attach(mshare_region *region, char **ret_message) {
        int r = 0;

        /* If it is not valid, the program has closed it or the broker returned none. */
        if (own_fd_valid(&region->lease.region))
                r = attach_by_descriptor(region, ret_message);
        if (r == 0)
                r = attach_by_name(region, ret_message);
        if (r < 0)
                return r;

        region->attached = true;
        return 0;
}
