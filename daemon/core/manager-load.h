/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>

#include "core/manager.h"

/* Enters a region in the table and takes *record over. 0 or -ENOMEM. */
int manager_enter_region(Manager *manager, RegionRecord *record, Region **ret);

/* A temporary local shortage that may be gone at the next start. */
static inline bool error_is_passing(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

/* Restores regions and leases from state files and msharefs. 0 or negative errno, logged. */
int manager_load(Manager *manager);
