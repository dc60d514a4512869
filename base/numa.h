/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As many as the kernel can be built for on x86. */
#define NUMA_NODES_MAX 1024
/* Enough for every policy as text. */
#define NUMA_TEXT_MAX 2560

/* The form as a half sentence, for messages that refuse a value. */
#define NUMA_FORM "default, interleave or bind:NODES, with nodes below 1024 as in 0,2-3"

typedef struct NumaNodes {
        uint64_t bits[NUMA_NODES_MAX / 64];
} NumaNodes;

typedef enum NumaMode {
        NUMA_DEFAULT, /* where the process runs that touches a page first */
        NUMA_INTERLEAVE, /* page after page on all nodes in turn */
        NUMA_BIND, /* on these nodes and on no other */
} NumaMode;

/* Where a region's memory comes from. The zeroed one is the default. */
typedef struct NumaPolicy {
        NumaMode mode;
        NumaNodes nodes; /* of NUMA_BIND */
} NumaPolicy;

/*
 * The one grammar of memory policies: command line, region files and bus use it. These allocate nothing and never block.
 * -EINVAL: not of that form; *ret is written on success only.
 */
int numa_parse(const char *s, NumaPolicy *ret);
/* A list such as 0,2-3, which the kernel writes, too. */
int numa_parse_nodes(const char *s, NumaNodes *ret);

/* Into buf, which has NUMA_TEXT_MAX bytes and is returned. The nodes are in order, each once, neighbours as one range. */
const char *numa_format(const NumaPolicy *policy, char *buf);

static inline bool numa_has_node(const NumaNodes *nodes, unsigned int node) {
        return nodes->bits[node / 64] >> (node % 64) & 1;
}

/* The first node that is in the one set and not in the other, or -1. */
int numa_first_missing(const NumaNodes *wanted, const NumaNodes *present);
