/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "mshare.h"
#include "preload-claim.h"

/* The limit for one server in its region. nginx has a mapping for each zone, uWSGI one for each cache. */
#define PRELOAD_MAPPINGS_MAX 64

/* libmshare, loaded when it is needed: most programs that inherit LD_PRELOAD never map anything large. */
typedef struct PreloadApi {
        __typeof__(mshare_region_acquire) *acquire;
        __typeof__(mshare_region_release) *release;
        __typeof__(mshare_region_attach) *attach;
        __typeof__(mshare_region_detach) *detach;
        __typeof__(mshare_region_address) *address;
        __typeof__(mshare_region_length) *length;
        __typeof__(mshare_region_size) *size;
        __typeof__(mshare_region_backing) *backing;
        __typeof__(mshare_region_fd) *fd;
} PreloadApi;

typedef struct PreloadFamily PreloadFamily;

/* A part of the region that this process has as a mapping or as a System V segment. */
typedef struct PreloadMapping {
        size_t offset, size; /* bytes, whole pages; size 0: a free entry */
        size_t wanted; /* bytes that the program requested */
        int segment, key; /* identifier of the System V segment, or -1, and its key */
        void *shadow; /* where the segment itself is attached, or NULL */
        unsigned int attached; /* how many times the program has attached the segment */
        bool removed; /* the segment */
} PreloadMapping;

/* The region that replaces a server's shared memory, from the first mapping on. */
typedef struct PreloadRegion {
        PreloadApi api;
        mshare_region *handle;
        char *name;
        OwnFd claim;
        PreloadFamily *family; /* shared by all processes that were forked from the one that took it */
        bool attached;
        char *window; /* the window's start */
        size_t length; /* the window's bytes */
        size_t room; /* bytes from the start that mappings may use */
        bool empty; /* the region was created with backing "empty" */
        PreloadMapping mappings[PRELOAD_MAPPINGS_MAX];
} PreloadRegion;

/* The region has no room for this mapping, but may have room for a smaller one. */
#define PRELOAD_NO_ROOM 1
/* This process was forked from the server that has the region. Its own mappings are not placed. */
#define PRELOAD_CHILD 2

/*
 * Gives the server size bytes of zeroed memory in the region. Takes lease and claim and attaches the region if that has not
 * been done yet. Memory is cleared only while this process is the only sharer that can write to it. Returns 0 and *ret, which
 * the region owns; or PRELOAD_NO_ROOM and a message, or PRELOAD_CHILD, or a negative errno and a message. Blocks until the
 * broker has answered, and up to five seconds for processes that are about to exit.
 */
int preload_region_place(PreloadRegion *r, const char *name, size_t size, int flags, PreloadMapping **ret,
                         char **ret_message);

/*
 * Removes a mapping from this process. A process that was forked from the server gives up window, lease and claim with its last
 * mapping. The server itself stays a sharer, so that no other server takes the region meanwhile. 0 or negative errno.
 */
int preload_region_unmap(PreloadRegion *r, PreloadMapping *m);

/* Whether this process decides for the server: it took the region, or took over from a process that has exited. */
bool preload_region_mine(const PreloadRegion *r);

/* The mapping that begins at that address, or NULL. */
PreloadMapping *preload_region_find(PreloadRegion *r, const void *start);

static inline char *preload_mapping_start(const PreloadRegion *r, const PreloadMapping *m) {
        return r->window + m->offset;
}
