/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "process.h"

/* A region that a server should be in, as far as it is known. */
typedef struct Target {
        const char *name; /* NULL: none was named */
        const char *unusable; /* why the broker has no data about it, as a sentence; NULL: it has data */
        bool exists, ready;
        uint64_t size, length; /* bytes; length: of the window, at least a granule */
        uint32_t mode, uid, gid;
        const char *acl; /* "KIND:ID:ACCESS" with blanks between, or "" */
} Target;

typedef struct Obstacles {
        char **list;
        size_t n;
} Obstacles;

void obstacles_done(Obstacles *o);

/*
 * Lists what keeps the server out of the region: sentences without full stops, the most certain first. If one is not certain,
 * it says "may". min_size is the smallest mapping, in bytes, that should be in a region. 0 or -ENOMEM.
 */
int obstacles_find(const Process *p, const Mappings *m, const Target *t, uint64_t min_size, Obstacles *ret);

/* The largest shared memory outside of regions that has at least min_size bytes, or NULL. It points into *m. */
const Mapping *largest_outside(const Mappings *m, uint64_t min_size);
