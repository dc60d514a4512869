/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/*
 * Watches msharefs for changes by other processes. Returns 0 even if that fails: then it logs a warning, and changes are
 * noticed when a call needs the region.
 */
int manager_watch_kernel(Manager *manager);
/*
 * Called for each name in msharefs: adopts a region that is not in the table, and removes one that a donor has left incomplete.
 * 0 or -ENOMEM.
 */
int manager_found_in_kernel(const char *name, void *manager);
/* Updates mode and owner of the record from the file. Returns whether they have changed; *ret_dirty says which. */
bool region_record_follow(RegionRecord *record, const struct stat *st, unsigned *ret_dirty);
/* Updates the record to match the file in msharefs. If the file is gone, frees the region and returns NULL. */
Region *manager_refresh_region(Manager *manager, Region *region);
/* The same, after a change that the broker has made and logged itself. */
Region *manager_follow_change(Manager *manager, Region *region);
