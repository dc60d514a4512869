/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_PRELOAD_REGION_H
#define MSHARE_PRELOAD_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "mshare.h"

/* libmshare, loaded when it is needed: most programs that inherit LD_PRELOAD never map anything large. */
struct preload_api {
        __typeof__(mshare_region_acquire) *acquire;
        __typeof__(mshare_region_release) *release;
        __typeof__(mshare_region_attach) *attach;
        __typeof__(mshare_region_detach) *detach;
        __typeof__(mshare_region_address) *address;
        __typeof__(mshare_region_length) *length;
        __typeof__(mshare_region_size) *size;
        __typeof__(mshare_region_backing) *backing;
};

/* The region that stands in for a server's shared memory, from the first mapping on. */
struct preload_region {
        struct preload_api api;
        mshare_region *handle;
        int claim_fd;
        pid_t owner;
        char *start;     /* the mapping that the server has; NULL while it has none */
        size_t size;     /* its bytes, whole pages */
        char *window;    /* the window's start, valid while start is not NULL */
        size_t length;   /* the window's bytes */
};

/*
 * Give the server size bytes of zeroed memory in the region: lease, claim and attach what is not yet, then
 * clear. On success start is set; else a negative errno and in *ret_message a sentence, and nothing is mapped.
 */
int preload_region_map(struct preload_region *r, const char *name, size_t size, int flags, char **ret_message);

/*
 * Take the mapping away from this process alone. The process that made it keeps lease and claim, for it may
 * map again; a child gives up its share of them.
 */
int preload_region_unmap(struct preload_region *r);

#endif
