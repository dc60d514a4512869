/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/log.h"
#include "core/request.h"
#include "core/region.h"
#include "kernel/kernel.h"
#include "model/access.h"
#include "model/address.h"
#include "model/config.h"
#include "model/limits.h"
#include "names.h"
#include "policy/acl.h"
#include "policy/authz.h"
#include "policy/caller.h"

/* Bits of Manager.dirty. */
#define MANAGER_DIRTY_REGIONS (1u << 0)
#define MANAGER_DIRTY_CLIENTS (1u << 1)
#define MANAGER_DIRTY_LIMITS (1u << 2)

#define RECENT_WINDOWS 16

struct Manager {
        Log log;
        Config config;
        Kernel kernel;
        sd_event *event;
        sd_bus *bus;
        Callers *callers;
        Authz *authz;
        Users users;
        LIST_HEAD(Regions, Region) regions;
        unsigned n_regions, n_leases;
        /* Windows of regions whose names cannot be used on the bus. */
        AddressRange *foreign;
        size_t n_foreign;
        /* Regions of an earlier run that could not be read. Names and windows stay reserved, and the next run tries again. */
        RegionRecord *skipped;
        size_t n_skipped;
        int runtime_fd, regions_fd, leases_fd;
        /* Windows that were freed last, in a ring: clients of those regions may still have them mapped. */
        AddressRange recent[RECENT_WINDOWS];
        unsigned n_recent;
        unsigned dirty;
        sd_event_source *notify; /* the timer that announces what is dirty */
        sd_event_source *watch; /* inotify on msharefs */
        bool rescan; /* a scan of msharefs is due */
        sd_event_source *rescan_source;
        bool broadcasting; /* a signal is being built, which every user can read */
};

/* Reads the configuration and opens /run/mshared. No bus yet. */
int manager_new(Manager **ret);
void manager_free(Manager *manager);
DEFINE_CLEANUP(Manager, manager_free)
/* Reads mshared.conf and its drop-ins (again). */
int manager_load_config(Manager *manager);

/* Cancels and rolls back all creations, and stops what changes sizes: the next run finishes that. To be called before manager_free(), while the bus connection is open. */
void manager_end_donors(Manager *manager);

/* manager-load.c: restores regions and leases from state files and msharefs. 0 or negative errno, logged. */
int manager_load(Manager *manager);
/* manager-follow.c: watches msharefs for changes by other processes. */
int manager_watch_kernel(Manager *manager);
/* Updates the record to match the file in msharefs. If the file is gone, frees the region and returns NULL. */
Region *manager_refresh_region(Manager *manager, Region *region);
/* The same after a change by the broker, which has been logged already. */
Region *manager_follow_change(Manager *manager, Region *region);

Region *manager_find_region(Manager *manager, const char *name);
/* Whether a region of that name is among those that could not be read. */
bool manager_has_skipped(const Manager *manager, const char *name);
Region *manager_find_region_by_path(Manager *manager, const char *path);
/*
 * Returns all windows in use, followed by the windows that were freed last; the caller frees the array. The return value is the
 * number of windows in use, or -ENOMEM; *ret_all is the number of both.
 */
ssize_t manager_windows(Manager *manager, AddressRange **ret, size_t *ret_all);
/* Unlinks the region in the kernel, frees it, and announces that. 0, or negative errno with nothing changed. */
int manager_remove_region(Manager *manager, Region *region, const char *why, const Actor *by);
/* The same if the kernel does not have the region any more. */
void manager_lose_region(Manager *manager, Region *region, const char *why);
uint64_t manager_random_id(Manager *manager);
/* Sets *error to say that the limit is reached, with its value and setting. Returns the negative errno of that error. */
int manager_limit_reached(Manager *manager, Limit limit, sd_bus_error *error);

/* manager-create.c. Replies to the call later. 1, or negative errno with *error set. */
int manager_create_region(Manager *manager, Call *call, CreateRequest *request, sd_bus_error *error);
/* Checks all that can be checked before polkit is asked. 0, or negative errno with *error set. */
int manager_check_request(Manager *manager, const CreateRequest *request, sd_bus_error *error);
/* Fails if the kernel has no mshare or msharefs is not mounted. 0, or negative errno with *error set. */
int manager_check_kernel(Manager *manager, sd_bus_error *error);

/* region-ops.c: operations on regions, with their checks of permissions. Steps of authz_run(). */
int region_find_for(Manager *manager, const char *name, Region **ret, sd_bus_error *error);
/* With open, the answer has the region's file in it, too, opened for that access. */
int region_acquire(Region *region, Call *call, const char *access, bool open, sd_bus_error *error);
int region_remove(Region *region, Call *call, bool force, sd_bus_error *error);

/* Fails with RegionBusy if the region has clients or sharers; what: what they keep or lose with the option 'force'. */
int region_check_unused(Region *region, const char *what, sd_bus_error *error);

/* resize.c: a step of authz_run(), too. */
int region_resize(Region *region, Call *call, const ResizeRequest *request, sd_bus_error *error);

/* region-rights.c: operations on permissions, and checks of them. The first three are steps of authz_run(), too. */
int region_set_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error);
int region_set_owner(Region *region, Call *call, uint32_t uid, uint32_t gid, sd_bus_error *error);
int region_revoke(Region *region, Call *call, const char *kind, uint32_t id, sd_bus_error *error);
/* Asks polkit about the record's region, with this mode and owner. A region that does not exist yet has ID 0. */
int authorize_region(Call *call, const char *action, const RegionRecord *record, mode_t mode, uid_t uid, gid_t gid,
                     sd_bus_error *error);
/* The caller for the log: user, process and unit. To be freed by actor_done(). */
void call_actor(Call *call, Actor *ret);
int region_check_ready(const Region *region, sd_bus_error *error);
/* Whether the kernel would admit the identity, by access list and mode. The second takes owner and mode from *st. */
bool region_admits(const Region *region, const Identity *who, Access access);
bool region_admits_now(const Region *region, const Identity *who, Access access, const struct stat *st);
/*
 * Adds the caller to the access list of the region, because polkit admits it and the mode does not: otherwise the kernel would
 * refuse the client later. The caller frees the backup, which is for region_undo_grant(), in any case.
 */
int region_grant(Region *region, Call *call, Access access, AclBackup *ret_backup, sd_bus_error *error);
void region_undo_grant(Region *region, Call *call, const AclBackup *backup);
/* Who is in the region's access list. Returns how many; an access list that cannot be read is logged and counts as none. */
size_t region_list_grants(Region *region, AclGrant grants[static ACL_ENTRIES_MAX]);
