/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "region-client.h"
#include "region-file.h"

/* Part of a region to populate; all is borrowed. */
typedef struct PopulateRequest {
        const char *name, *path; /* of the region, and of its object on the bus */
        const RegionFile *file;
        uint64_t from, to; /* bytes from the region's start */
        bool writable; /* whether the region's memory can be written */
        bool suspended; /* it has mode 0 until its mode is set; a broker that replaces this one meanwhile must know that */
} PopulateRequest;

/*
 * Populates that part in a process of this unit. Waits, and reports the progress to systemd. -ECANCELED: a signal has stopped
 * the start; any other negative errno: *error says what failed. Pages that have been populated stay.
 */
int region_populate(Start *s, const PopulateRequest *request, sd_bus_error *error);
