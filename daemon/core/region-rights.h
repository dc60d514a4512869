/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"
#include "policy/acl.h"

/* Operations on permissions, and checks of them. None of them waits for polkit. */

/* Steps of authz_run(). UINT32_MAX leaves the user or the group unchanged. kind is "user" or "group". */
int region_set_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error);
int region_set_owner(Region *region, Call *call, uint32_t uid, uint32_t gid, sd_bus_error *error);
int region_revoke(Region *region, Call *call, const char *kind, uint32_t id, sd_bus_error *error);
/*
 * The two parts of region_set_mode(): the first asks polkit (1, or 0 while it is asked), the second changes the mode in the
 * kernel and logs that.
 */
int region_authorize_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error);
int region_change_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error);
/* What polkit learns about a region. */
typedef struct RegionDetails {
        uint64_t id; /* 0: it does not exist yet. polkit does not see this */
        const char *name;
        uint64_t size; /* bytes */
        Backing backing;
        mode_t mode;
        uid_t uid;
        gid_t gid;
} RegionDetails;

/* The details of a region as it is. A caller changes those that the call would change. */
RegionDetails region_details(const RegionRecord *record);
/* Asks polkit about the region with these details. Returns what call_authorize() does. */
int authorize_region(Call *call, const char *action, const RegionDetails *details, sd_bus_error *error);
/* Whether the region can be acquired: it has been created and, if its creator populates it, populated. */
int region_check_ready(const Region *region, sd_bus_error *error);
/* Whether the kernel would admit the identity, by access list and mode. region_admits_now() takes owner and mode from *st. */
bool region_admits(const Region *region, const Identity *who, Access access);
bool region_admits_now(const Region *region, const Identity *who, Access access, const struct stat *st);
/* Whether the identity may see the region's address: it owns the region, or may attach. */
bool region_shows_address(const Region *region, const Identity *who);
/* As region_admits(), but after the region's creator has populated it. */
bool region_will_admit(const Region *region, const Identity *who, Access access);
/*
 * Adds the caller to the access list of the region if polkit admits it and the mode does not: otherwise the kernel would refuse
 * the client later. *ret_backup is for region_undo_grant() and must be freed in any case.
 */
int region_grant(Region *region, Call *call, Access access, AclBackup *ret_backup, sd_bus_error *error);
/* Restores the access list as it was before region_grant(). A failure is logged. */
void region_undo_grant(Region *region, Call *call, const AclBackup *backup);
/* The users and groups in the access list of the region. 0, or negative errno for a list that cannot be read. */
int region_list_grants(const Region *region, AclGrant grants[static ACL_ENTRIES_MAX], size_t *ret);
