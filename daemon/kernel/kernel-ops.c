/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The KernelOps of a real kernel: system calls and files of /proc and /sys. Tests use tests/daemon/kernel-double.c instead, so
 * nothing else in the broker may make these calls.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ioctl.h"
#include "kernel/kernel-ops.h"
#include "kernel/kernel-text.h"
#include "mshare.h"
#include "names.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

static const char *linux_root(void) {
        return MSHAREFS_PATH;
}

static int linux_granule(uint64_t *ret) {
        _cleanup_(freep) char *text = NULL;
        uint64_t v;
        int r;

        r = read_file(AT_FDCWD, "/proc/sys/vm/mshare_size", 64, &text, NULL);
        if (r == -ENOENT)
                return -EOPNOTSUPP;
        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = 0;
        r = parse_u64(text, 10, &v);
        if (r < 0)
                return r;
        /* The sysctl alone proves nothing: make the system call with an invalid argument. */
        if (mshare_unlink("") < 0 && errno == ENOSYS)
                return -EOPNOTSUPP;
        *ret = v;
        return 0;
}

static int linux_check_root(int root_fd) {
        struct stat st, parent;

        /* sysfs makes the directory, a mount of msharefs fills it: they differ in the device. */
        if (fstat(root_fd, &st) < 0 || fstatat(root_fd, "..", &parent, 0) < 0)
                return -errno;
        return st.st_dev == parent.st_dev ? -ENODEV : 0;
}

static int linux_mshare(const char *name, uint64_t address, uint64_t length, int oflag, mode_t mode) {
        return mshare(name, (void *) (uintptr_t) address, length, oflag, mode) < 0 ? -errno : 0;
}

static int linux_attach(int fd, uint64_t address, uint64_t length) {
        const void *p = mmap((void *) (uintptr_t) address, length, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);

        return p == MAP_FAILED ? -errno : 0;
}

static int linux_listing(int fd, int *ret) {
        int listing = ioctl(fd, MSHARE_IOC_MAPS);

        if (listing < 0)
                return -errno;
        *ret = listing;
        return 0;
}

static int linux_fdinfo(int fd, char **ret) {
        char path[64];

        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        return read_file(AT_FDCWD, path, 4096, ret, NULL);
}

/* Available memory of the nodes, without swap. */
static int available_on(const NumaNodes *nodes, uint64_t *ret) {
        uint64_t sum = 0, bytes;
        char path[64];
        int r;

        for (unsigned node = 0; node < NUMA_NODES_MAX; node++) {
                _cleanup_(freep) char *text = NULL;

                if (!numa_has_node(nodes, node))
                        continue;
                (void) snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node);
                r = read_file(AT_FDCWD, path, 16384, &text, NULL);
                if (r >= 0)
                        r = kernel_parse_node_meminfo(text, &bytes);
                if (r < 0)
                        return r;
                sum += bytes;
        }
        *ret = sum;
        return 0;
}

static int linux_available(const NumaPolicy *numa, uint64_t *ret) {
        _cleanup_(freep) char *text = NULL;
        uint64_t all, swap, bound;
        int r;

        r = read_file(AT_FDCWD, "/proc/meminfo", 16384, &text, NULL);
        if (r >= 0)
                r = kernel_parse_meminfo(text, &all, &swap);
        if (r < 0)
                return r;
        *ret = all;
        /* When a node is full, interleaving uses the others. */
        if (numa->mode != NUMA_BIND)
                return 0;
        r = available_on(&numa->nodes, &bound);
        if (r < 0)
                return r;
        if (bound + swap < all)
                *ret = bound + swap;
        return 0;
}

static int linux_nodes(NumaNodes *ret) {
        *ret = (NumaNodes){};
        if (syscall(SYS_get_mempolicy, NULL, ret->bits, (unsigned long) NUMA_NODES_MAX, NULL,
                    (unsigned long) MPOL_F_MEMS_ALLOWED) < 0)
                return errno == ENOSYS ? -EOPNOTSUPP : -errno;
        return 0;
}

static int linux_set_policy(void *p, uint64_t size, const NumaPolicy *numa) {
        NumaNodes nodes = numa->nodes;
        int mode = MPOL_BIND, r;

        if (numa->mode == NUMA_INTERLEAVE) {
                mode = MPOL_INTERLEAVE;
                r = linux_nodes(&nodes);
                if (r < 0)
                        return r;
        }
        /* mbind() reads one bit less than it is given. */
        return syscall(SYS_mbind, p, size, (long) mode, nodes.bits, (unsigned long) NUMA_NODES_MAX + 1, 0L) < 0 ? -errno
                                                                                                                : 0;
}

static int linux_populate(void *p, uint64_t size, bool writable) {
        return madvise(p, size, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) < 0 ? -errno : 0;
}

const KernelOps *kernel_ops(void) {
        static const KernelOps ops = {
                .root = linux_root,
                .granule = linux_granule,
                .check_root = linux_check_root,
                .mshare = linux_mshare,
                .attach = linux_attach,
                .listing = linux_listing,
                .fdinfo = linux_fdinfo,
                .available = linux_available,
                .nodes = linux_nodes,
                .set_policy = linux_set_policy,
                .populate = linux_populate,
        };

        return &ops;
}
