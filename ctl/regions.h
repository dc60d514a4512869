/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_REGIONS_H
#define MSHARECTL_REGIONS_H

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

/* All regions, by name, in one call. Prints what goes wrong; returns an exit status. */
int regions_get(sd_bus *bus, const Arguments *a, const char *what, Regions *ret);

/* The columns to sort by, for messages. */
#define SORT_WORDS "name, size, resident, sharers, clients, tables, saved"
/* Whether that is a column to sort by; and sort by it: names from A on, numbers from the largest down. */
bool regions_sort_known(const char *column);
void regions_sort(Regions *regions, const char *column);

/* What as many sharers would have spent on page tables of their own: the broker's sum over all regions counts so. */
uint64_t region_saved_bytes(uint64_t sharers, uint64_t page_tables);

#endif
