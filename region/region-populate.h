/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "region-client.h"
#include "region-file.h"

/*
 * Populates bytes [from, to) of the region of this name, whose object is at path, in a process of this unit. writable: whether
 * the region's memory can be written. suspended: the region has mode 0 until its mode is set, and a broker that replaces this
 * one meanwhile must know that. Waits, and reports the progress to systemd. -ECANCELED: a signal has stopped the start; any
 * other negative errno: *error says what failed. Pages that have been populated stay.
 */
int region_populate(Start *s, const char *name, const char *path, const RegionFile *f, bool writable, uint64_t from,
                    uint64_t to, bool suspended, sd_bus_error *error);
