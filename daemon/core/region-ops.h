/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/*
 * Operations on regions, with their checks of permissions. Those with a Call are steps of authz_run(): 1, 0 while polkit is
 * asked, or negative errno with *error set.
 */

/*
 * Finds the region of that name, and updates it from msharefs. 0, or negative errno with *error set. The manager owns the
 * region.
 */
int region_find_for(Manager *manager, const char *name, Region **ret, sd_bus_error *error);
/* The same for a caller that will attach. If the kernel has no mshare or no msharefs, the error says so first. */
int region_find_to_acquire(Manager *manager, const char *name, Region **ret, sd_bus_error *error);
/* access is "r" or "rw". With `open`, the answer also contains the region's file, opened for that access. */
int region_acquire(Region *region, Call *call, const char *access, bool open, sd_bus_error *error);
/*
 * Drops all leases that this connection of the identity has. Both may be NULL, for a message without a sender on the bus, which
 * has no lease.
 */
void region_release(Region *region, const Identity *who, const char *sender);
int region_remove(Region *region, Call *call, bool force, sd_bus_error *error);

/*
 * Fails with RegionBusy if the region has clients or sharers. `what` completes the message "use 'force' to ...": it says what
 * happens to them.
 */
int region_check_unused(Region *region, const char *what, sd_bus_error *error);
