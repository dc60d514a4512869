/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "region-client.h"
#include "region-file.h"

/*
 * Takes over the existing region of the declared name, or refuses with *error set. Waits if the region is still being created,
 * and populates it if the file says so. writable: whether its memory can be written. 0, -ECANCELED, or another negative errno.
 */
int start_take_existing(Start *s, const char *name, const RegionFile *f, const Owner *owner, bool writable,
                        sd_bus_error *error);
