/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_PLACE_H
#define MSHARECTL_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The file by which windows in /proc are known. */
typedef struct Place {
        bool mounted; /* msharefs is where it belongs */
        bool missing; /* there is no region of that name */
        dev_t device;
        uint64_t inode; /* 0: any region's */
} Place;

/* That of a region, or with NULL of all of them. Prints what goes wrong; returns an exit status. */
int place_find(const char *region, Place *ret);

#endif
