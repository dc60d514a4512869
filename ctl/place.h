/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "process.h"

/* The file that identifies a region's windows in /proc. */
typedef struct Place {
        const char *region; /* NULL: any */
        bool mounted; /* msharefs is mounted in its usual place */
        bool missing; /* there is no region of that name */
        dev_t device;
        uint64_t inode; /* 0: any region's */
} Place;

/*
 * Finds the file of a region, or if region is NULL what the files of all regions have in common. The name is borrowed. Prints
 * errors; returns an exit status.
 */
int place_find(const char *region, Place *ret);

/*
 * Whether this mapping of the process is a window of the region: 1 or 0, or -ENOMEM. If msharefs is no longer mounted ("umount
 * -l"), windows are recognized by the type of their file system and by the region's name in /proc; then -EACCES for users other
 * than root.
 */
int place_has_window(const Place *place, const char *proc, pid_t pid, const Mapping *m);
