/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "kernel/kernel-ops.h"
#include "kernel/kernel-text.h"

typedef struct Kernel {
        const KernelOps *ops;
        bool supported;
        uint64_t granule; /* bytes; 0 if not supported */
        int root_fd; /* -1 as long as msharefs is not mounted */
        bool settled; /* the root is not looked for any more */
} Kernel;

/*
 * Finds out whether the kernel has mshare; if not, supported is false, which is no error. Also drops CAP_DAC_OVERRIDE from the
 * effective capabilities. 0 or negative errno.
 */
int kernel_open(Kernel *kernel, const KernelOps *ops);
void kernel_done(Kernel *kernel);

/*
 * Opens the root if it is not open yet. Returns its descriptor, which the caller does not close; -ENODEV if msharefs is not
 * mounted; -EOPNOTSUPP if the kernel has no mshare; or another negative errno.
 */
int kernel_root(Kernel *kernel);

typedef struct KernelRegion {
        uint64_t address, length; /* bytes */
        bool read_only; /* for everyone and permanently, whatever the mode: created with O_CREAT|O_RDONLY */
        struct stat st;
} KernelRegion;

/*
 * What the kernel says about a region. 0, or negative errno: -ENOENT if there is none of that name, -EBADMSG if the file is not
 * a region.
 */
int kernel_read_region(Kernel *kernel, const char *name, KernelRegion *ret);
/* Owner and mode only, which needs fewer system calls. */
int kernel_stat(Kernel *kernel, const char *name, struct stat *ret);
int kernel_read_usage(Kernel *kernel, const char *name, KernelUsage *ret);
/*
 * The region's file for a client, as an open file of its own, which the caller closes. The caller checks that the client may
 * have it. *ret_st is what the file's owner and mode were at that time.
 */
int kernel_open_region(Kernel *kernel, const char *name, bool writable, int *ret, struct stat *ret_st);
int kernel_chown(Kernel *kernel, const char *name, uid_t uid, gid_t gid);
int kernel_chmod(Kernel *kernel, const char *name, mode_t mode);
int kernel_unlink(Kernel *kernel, const char *name);

/* Calls found() for each name in msharefs until it returns nonzero, which is returned then. */
int kernel_list(Kernel *kernel, int (*found)(const char *name, void *userdata), void *userdata);
