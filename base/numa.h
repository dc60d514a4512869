/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most nodes that a kernel for x86 can be built for. */
#define NUMA_NODES_MAX 1024
/* Enough for every policy as text. */
#define NUMA_TEXT_MAX 2560

/* The valid form, for messages that refuse a value. */
#define NUMA_FORM "default, interleave or bind:NODES, with nodes below 1024 as in 0,2-3"

typedef struct NumaNodes {
        uint64_t bits[NUMA_NODES_MAX / 64];
} NumaNodes;

typedef enum NumaMode {
        NUMA_DEFAULT, /* the node of the process that touches a page first */
        NUMA_INTERLEAVE, /* pages alternate between all nodes */
        NUMA_BIND, /* only on these nodes */
} NumaMode;

/* Where a region's memory comes from. A zeroed policy is the default one. */
typedef struct NumaPolicy {
        NumaMode mode;
        NumaNodes nodes; /* of NUMA_BIND */
} NumaPolicy;

/*
 * The grammar of memory policies on the command line, in region files and on the bus. These allocate nothing and never block.
 * -EINVAL: not of that form; *ret is written on success only.
 */
int numa_parse(const char *s, NumaPolicy *ret);
/* A list such as 0,2-3. The kernel writes lists in the same form. */
int numa_parse_nodes(const char *s, NumaNodes *ret);

/*
 * Writes into buf, which has NUMA_TEXT_MAX bytes and is returned. Nodes are in order, each once, and neighbours form a range.
 */
const char *numa_format(const NumaPolicy *policy, char *buf);

static inline bool numa_has_node(const NumaNodes *nodes, unsigned int node) {
        return nodes->bits[node / 64] >> (node % 64) & 1;
}

/* The first node of the set that is missing in the other set, or -1. */
int numa_first_missing(const NumaNodes *wanted, const NumaNodes *present);
