/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads and changes regions through their files in msharefs. It keeps no state about them, and checks no rights. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>

#include "kernel/kernel.h"
#include "mshare.h"

/*
 * CAP_DAC_OVERRIDE is effective only while a region is opened for a client. Everything else that the broker does needs ordinary
 * permissions.
 */
static int set_override(bool on) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};
        const uint32_t bit = UINT32_C(1) << CAP_DAC_OVERRIDE;

        if (geteuid() == 0)
                return 0;
        if (syscall(SYS_capget, &header, data) < 0)
                return -errno;
        data[0].effective &= ~bit;
        if (on)
                data[0].effective |= data[0].permitted & bit;
        return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int kernel_open(Kernel *kernel, const KernelOps *ops) {
        int r;

        r = set_override(false);
        if (r < 0)
                return r;
        *kernel = (Kernel){ .ops = ops, .root_fd = -1 };
        r = ops->granule(&kernel->granule);
        if (r == -EOPNOTSUPP)
                return 0;
        if (r < 0)
                return r;
        if (kernel->granule == 0 || (kernel->granule & (kernel->granule - 1)) != 0)
                return -EBADMSG;
        kernel->supported = true;
        return 0;
}

void kernel_done(Kernel *kernel) {
        kernel->root_fd = safe_close(kernel->root_fd);
}

int kernel_root(Kernel *kernel) {
        _cleanup_(closep) int fd = -1;
        int r;

        if (kernel->root_fd >= 0)
                return kernel->root_fd;
        if (!kernel->supported)
                return -EOPNOTSUPP;
        if (kernel->settled)
                return -ENODEV;
        fd = open(kernel->ops->root(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? -ENODEV : -errno;
        r = kernel->ops->check_root(fd);
        if (r < 0)
                return r;
        kernel->root_fd = TAKE_FD(fd);
        return kernel->root_fd;
}

static int open_region(Kernel *kernel, const char *name, int access) {
        int root, fd;

        root = kernel_root(kernel);
        if (root < 0)
                return root;
        fd = openat(root, name, access | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

int kernel_read_region(Kernel *kernel, const char *name, KernelRegion *ret) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(closep) int fd = -1;
        struct mshare_info info;
        KernelRegion region;
        ssize_t n;
        int r;

        fd = open_region(kernel, name, O_RDONLY);
        if (fd < 0)
                return fd;
        if (fstat(fd, &region.st) < 0)
                return -errno;
        if (!S_ISREG(region.st.st_mode))
                return -EBADMSG;
        n = pread(fd, &info, sizeof(info), 0);
        if (n < 0)
                return -errno;
        if (n != sizeof(info) || info.size == 0)
                return -EBADMSG;
        r = kernel->ops->fdinfo(fd, &text);
        if (r < 0)
                return r;
        region.address = info.start;
        region.length = info.size;
        region.read_only = kernel_fdinfo_is_read_only(text);
        *ret = region;
        return 0;
}

int kernel_stat(Kernel *kernel, const char *name, struct stat *ret) {
        int root = kernel_root(kernel);

        if (root < 0)
                return root;
        return fstatat(root, name, ret, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int kernel_read_usage(Kernel *kernel, const char *name, KernelUsage *ret) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(closep) int fd = -1;
        int r;

        fd = open_region(kernel, name, O_RDONLY);
        if (fd < 0)
                return fd;
        r = kernel->ops->fdinfo(fd, &text);
        if (r < 0)
                return r;
        return kernel_parse_fdinfo(text, ret);
}

int kernel_open_region(Kernel *kernel, const char *name, bool writable, int *ret, struct stat *ret_st) {
        _cleanup_(closep) int fd = -1;
        int r, k;

        if (!writable)
                fd = open_region(kernel, name, O_RDONLY);
        else {
                r = set_override(true);
                if (r >= 0)
                        fd = open_region(kernel, name, O_RDWR);
                k = set_override(false);
                if (r < 0 || k < 0)
                        return r < 0 ? r : k;
        }
        if (fd < 0)
                return fd;
        if (fstat(fd, ret_st) < 0)
                return -errno;
        if (!S_ISREG(ret_st->st_mode))
                return -EBADMSG;
        *ret = TAKE_FD(fd);
        return 0;
}

int kernel_chown(Kernel *kernel, const char *name, uid_t uid, gid_t gid) {
        int root = kernel_root(kernel);

        if (root < 0)
                return root;
        return fchownat(root, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int kernel_chmod(Kernel *kernel, const char *name, mode_t mode) {
        int root = kernel_root(kernel);

        if (root < 0)
                return root;
        /* No AT_SYMLINK_NOFOLLOW (the C library goes through /proc for it): msharefs has no symbolic links. */
        return fchmodat(root, name, mode, 0) < 0 ? -errno : 0;
}

int kernel_unlink(Kernel *kernel, const char *name) {
        int root = kernel_root(kernel);

        if (root < 0)
                return root;
        return unlinkat(root, name, 0) < 0 ? -errno : 0;
}

int kernel_list(Kernel *kernel, int (*found)(const char *name, void *userdata), void *userdata) {
        int root = kernel_root(kernel);

        return root < 0 ? root : for_each_entry(root, found, userdata);
}
