/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "preload-region.h"

/* What a program requests from the kernel, and may get in the region instead. */
typedef struct PreloadWish {
        size_t size; /* bytes */
        int flags; /* MAP_NORESERVE and MAP_POPULATE count */
        bool huge; /* pages of hugetlbfs */
        const char *unfit; /* the end of a sentence: why a region cannot replace it; NULL if it can */
        int segment, key; /* identifier of a System V segment, or -1, and its key */
} PreloadWish;

typedef enum PreloadAnswer {
        PRELOAD_PLAIN, /* not for a region: ask the kernel */
        PRELOAD_PLACED, /* *ret_start is the memory */
        PRELOAD_REFUSED, /* errno says why */
        PRELOAD_UNFIT, /* ask the kernel, and call preload_tell_unfit() if it agrees */
} PreloadAnswer;

/*
 * Decides about a wish. Prints at most one line on standard error: what was placed where, or why not. Keeps errno, except that
 * it is set if the answer is PRELOAD_REFUSED. Blocks as preload_region_place() does.
 */
PreloadAnswer preload_decide(const PreloadWish *wish, void **ret_start);
/* Prints once why a mapping that the kernel has made is not in the region. Keeps errno. */
void preload_tell_unfit(const PreloadWish *wish);

/*
 * Whether preload_decide() would try to place a mapping of that size. This is a guess, because it does not look at the region.
 * May print once that MSHARE_REGION is not set.
 */
bool preload_may_place(size_t size);

/* Locks and returns the process's region, for calls about memory that was placed. Must not be called while preload_inside(). */
PreloadRegion *preload_enter(void);
void preload_leave(void);
/* Whether this thread is inside the library: then its mappings are not the server's. */
bool preload_inside(void);

/* Whether the range touches the window. Takes no lock. */
bool preload_in_window(const void *addr, size_t length);

/* Whether this process or one from which it was forked is a server, and the region is removed from its environment. */
bool preload_is_settled(void);
/* The same, and memory of the server was placed, or the server goes on without the region. */
bool preload_is_decided(void);
/* Whether this process is the settled server, not one of its children. */
bool preload_is_server(void);

/* Updates the pages of System V segments before a fork: see preload-sysv.c. */
void preload_sysv_before_fork(PreloadRegion *r);
