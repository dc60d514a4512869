/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "basic/util.h"
#include "numa.h"

/*
 * The operations that need a kernel with mshare. Everything else about a region is an ordinary operation on its file in
 * msharefs. Tests have another implementation, which keeps regions in a directory. Functions that return int return 0, or
 * negative errno. They may sleep.
 */
typedef struct KernelOps {
        const char *(*root)(void); /* where msharefs is */
        /* The granule in bytes; -EOPNOTSUPP: this kernel has no mshare. */
        int (*granule)(uint64_t *ret);
        /* Whether the directory open at root_fd is msharefs: 0 or -ENODEV. */
        int (*check_root)(int root_fd);
        /* mshare(2). Attaches the caller. */
        int (*mshare)(const char *name, uint64_t address, uint64_t length, int oflag, mode_t mode);
        /* mmap(2) of an open region file, for reading and writing. Attaches the caller until it exits. */
        int (*attach)(int fd, uint64_t address, uint64_t length);
        /* What the region of an open region file maps, as a file like /proc/PID/maps; to be closed. */
        int (*listing)(int fd, int *ret);
        /* The fdinfo text of an open region file; to be freed. */
        int (*fdinfo)(int fd, char **ret);
        /*
         * Memory in bytes that is available without killing a process: free, reclaimable, or by swapping, and only where the
         * policy allows it.
         */
        int (*available)(const NumaPolicy *numa, uint64_t *ret);
        /* The nodes with memory that this process may use. -EOPNOTSUPP: the kernel was built without NUMA. */
        int (*nodes)(NumaNodes *ret);
        /* Sets the policy of size bytes of memory that are mapped at p. The policy is not the default one. */
        int (*set_policy)(void *p, uint64_t size, const NumaPolicy *numa);
        /* Touches size bytes of memory that are mapped at p, for writing or for reading. -EINTR and -EAGAIN: call it again. */
        int (*populate)(void *p, uint64_t size, bool writable);
} KernelOps;

/* Defined once per program: in kernel-ops.c, or in tests/daemon/kernel-double.c. */
const KernelOps *kernel_ops(void);
