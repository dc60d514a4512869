/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "properties.h"

/* A region as the broker describes it: the properties of org.mshare1.Region, and some that follow from them. */
typedef struct Region {
        char *object;
        Properties properties;
        /* These point into the properties; "" if missing. */
        const char *name, *state;
        uint64_t size, resident, sharers, clients, page_tables, saved;
        bool has_acl;
} Region;

typedef struct Regions {
        Region *list;
        size_t n;
} Regions;

void regions_done(Regions *regions);

/* Gets all regions with one call, sorted by name. Prints errors; returns an exit status. */
int regions_get(sd_bus *bus, const Arguments *a, const char *what, Regions *ret);

/* The columns to sort by, for messages. */
#define SORT_WORDS "name, size, resident, sharers, clients, tables, saved"
/* Whether regions can be sorted by that column. */
bool regions_sort_known(const char *column);
/* Sorts names in ascending order, numbers in descending order. */
void regions_sort(Regions *regions, const char *column);
