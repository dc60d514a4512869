/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>

#include "core/manager.h"

/* What manager-load.c, manager-load-leases.c and manager-follow.c share. */

/* Enters a region in the table and takes *record over. 0 or -ENOMEM. */
int manager_enter_region(Manager *manager, RegionRecord *record, Region **ret);
/* For each lease of the last run. 0 or negative errno; what is wrong with a single lease is logged. */
int manager_load_leases(Manager *manager);
/* Called for each name in msharefs: adopts a region that is not in the table. 0, or -ENOMEM. */
int manager_found_in_kernel(const char *name, void *manager);
/* Updates mode and owner of the record from the file. Returns whether they have changed, and which in *ret_dirty. */
bool region_record_follow(RegionRecord *record, const struct stat *st, unsigned *ret_dirty);

/* A temporary local shortage that may be gone at the next start. */
static inline bool error_is_passing(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

/* Restores regions and leases from state files and msharefs. 0 or negative errno, logged. */
int manager_load(Manager *manager);
