/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/log.h"
#include "core/options.h"
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
        /* Windows of regions whose names cannot be spoken of on the bus. */
        AddressRange *foreign;
        size_t n_foreign;
        /* Regions of an earlier run that could not be looked at: nobody may touch what is theirs, the next run tries again. */
        RegionRecord *skipped;
        size_t n_skipped;
        int runtime_fd, regions_fd, leases_fd;
        /* Windows that were given back last, in a ring: clients of those regions may have them still. */
        AddressRange recent[RECENT_WINDOWS];
        unsigned n_recent;
        unsigned dirty;
        sd_event_source *notify; /* the timer that tells what is dirty */
        sd_event_source *watch; /* inotify on msharefs */
        bool rescan; /* a look at msharefs is due */
        sd_event_source *rescan_source;
        bool broadcasting; /* a signal is being put together: what it holds, everybody reads */
};

/* Reads the configuration and opens /run/mshared. No bus yet. */
int manager_new(Manager **ret);
void manager_free(Manager *manager);
DEFINE_CLEANUP(Manager, manager_free)
/* Reads mshared.conf and its drop-ins (again). */
int manager_load_config(Manager *manager);

/* Undoes all that is being made. Before manager_free(), while the bus is still there. */
void manager_end_creations(Manager *manager);

/* manager-load.c: state files, leases and msharefs are brought together; then watched. */
int manager_load(Manager *manager);
int manager_watch_kernel(Manager *manager);
/* A file of msharefs is not what the region's record says: the record follows. Frees the region if the file is gone, and returns NULL then. */
Region *manager_refresh_region(Manager *manager, Region *region);
/* The same after a change of ours, which is in the log already. */
Region *manager_follow_change(Manager *manager, Region *region);

Region *manager_find_region(Manager *manager, const char *name);
/* Whether a region of that name is left for the next run. */
bool manager_has_skipped(const Manager *manager, const char *name);
Region *manager_find_region_by_path(Manager *manager, const char *path);
/*
 * All windows in use, and behind them those that were given back last, to be freed. Returns the number of the former, and of both
 * together in *ret_all; or -ENOMEM.
 */
ssize_t manager_windows(Manager *manager, AddressRange **ret, size_t *ret_all);
/* The region is to go: unlinked in the kernel, forgotten here, announced. 0 or negative errno (nothing has changed then). */
int manager_remove_region(Manager *manager, Region *region, const char *why, const Actor *by);
/* The kernel has lost it already. */
void manager_lose_region(Manager *manager, Region *region, const char *why);
uint64_t manager_random_id(Manager *manager);

/* manager-create.c. Replies to the call later. 1, or negative errno with *error set. */
int manager_create_region(Manager *manager, Call *call, CreateRequest *request, sd_bus_error *error);
/* Everything that can be said against a request before anybody is asked for permission. */
int manager_check_request(Manager *manager, const CreateRequest *request, sd_bus_error *error);
/* Without the kernel there is no region, and that is the reason to tell. */
int manager_check_kernel(Manager *manager, sd_bus_error *error);
void creation_free(Creation *creation);
/* The broker ends: undoes what is being made, region and creation included. Waits for the donor's end. */
void creation_end(Creation *creation);
/* Ends the making; `m` is answered when nothing is left of it. 1, or -EALREADY. */
int creation_cancel(Creation *creation, sd_bus_message *m);

/* region-ops.c: what callers do to regions, with the checks of who may. Steps of authz_run(). */
int region_find_for(Manager *manager, const char *name, Region **ret, sd_bus_error *error);
int region_acquire(Region *region, Call *call, const char *access, sd_bus_error *error);
int region_remove(Region *region, Call *call, bool force, sd_bus_error *error);

/* region-rights.c: who may use a region, and who decides that. The first four are steps of authz_run(), too. */
int region_set_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error);
int region_set_owner(Region *region, Call *call, uint32_t uid, uint32_t gid, sd_bus_error *error);
int region_revoke(Region *region, Call *call, const char *kind, uint32_t id, sd_bus_error *error);
/* The record's region, or one that is to be (its id is 0 then), with this mode and owner. */
int authorize_region(Call *call, const char *action, const RegionRecord *record, mode_t mode, uid_t uid, gid_t gid,
                     sd_bus_error *error);
/* For the log: the caller, his process and its unit. To be freed by actor_done(). */
void call_actor(Call *call, Actor *ret);
int region_check_ready(const Region *region, sd_bus_error *error);
/* Whether the kernel would let that one in, by access list and mode. */
bool region_admits(const Region *region, const Identity *who, Access access);
/*
 * polkit has said yes where the mode says no: the kernel must be told, or it would refuse the client later. The backup is for
 * region_undo_grant(), and the caller's to free in any case.
 */
int region_grant(Region *region, Call *call, Access access, AclBackup *ret_backup, sd_bus_error *error);
void region_undo_grant(Region *region, Call *call, const AclBackup *backup);
/* The property Acl. */
int region_append_acl(Region *region, sd_bus_message *reply);
