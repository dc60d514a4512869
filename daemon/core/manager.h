/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "core/announce.h"
#include "core/region.h"
#include "kernel/kernel.h"
#include "model/access.h"
#include "model/address.h"
#include "model/config.h"
#include "model/region-log.h"
#include "model/limits.h"
#include "names.h"
#include "calls/authz.h"
#include "calls/caller.h"
#include "calls/polkit.h"
#include "calls/turns.h"

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
        char bus_id[SD_ID128_STRING_MAX];
        Callers *callers;
        Authz *authz;
        Turns *turns;
        Face *face; /* borrowed; NULL until the broker is connected */
        PolkitCounts polkit_counts;
        Users users;
        LIST_HEAD(Regions, Region) regions;
        unsigned n_regions, n_leases;
        /* The windows of regions whose names cannot be used on the bus. */
        AddressRange *foreign;
        size_t n_foreign;
        /* Regions of an earlier run that could not be read. Names and windows stay reserved, and the next run tries again. */
        RegionRecord *skipped;
        size_t n_skipped;
        int runtime_fd, regions_fd, leases_fd;
        /* Windows that were freed last, in a ring: sharers of those regions may still have them mapped. */
        AddressRange recent[RECENT_WINDOWS];
        unsigned n_recent;
        unsigned dirty;
        sd_event_source *watch; /* inotify on msharefs */
        bool rescan; /* a scan of msharefs is due */
        sd_event_source *rescan_source;
        sd_event_source *holders_source; /* the timer that looks at suspensions */
};

/*
 * Reads the configuration, and opens and locks /run/mshared. No bus yet. Blocks for up to ten seconds while another broker or a
 * donor of the last run exits. 0 or negative errno, logged unless there is no memory.
 */
int manager_new(Manager **ret);
/* Frees everything, with all regions. State files and leases stay for the next run. Takes NULL. */
void manager_free(Manager *manager);
DEFINE_CLEANUP(Manager, manager_free)
/*
 * Reads mshared.conf and its drop-ins (again). Invalid settings are logged and ignored. 0, or -ENOMEM with the old settings
 * still in use.
 */
int manager_load_config(Manager *manager);

/*
 * Cancels and rolls back all creations, and stops resizes, which the next run finishes. Call this before manager_free(), while
 * the bus connection is open.
 */
void manager_end_donors(Manager *manager);

/* The region of that name, or NULL. The manager owns it. */
Region *manager_find_region(Manager *manager, const char *name);

/* Whether a region of that name is among those that could not be read at the start. */
bool manager_has_skipped(const Manager *manager, const char *name);
/* The same for the path of an object on the bus. */
Region *manager_find_region_by_path(Manager *manager, const char *path);
/*
 * Returns all windows in use, followed by the windows that were freed last; the caller frees the array. The return value is the
 * number of windows in use, or -ENOMEM; *ret_all is the number of both.
 */
ssize_t manager_windows(Manager *manager, AddressRange **ret, size_t *ret_all);
/*
 * Unlinks the region in the kernel, frees it, and announces that. `why` ends the log message "Region NAME removed: ..."; `by`
 * may be NULL. 0, or negative errno with nothing changed, logged.
 */
int manager_remove_region(Manager *manager, Region *region, const char *why, const Actor *by);
/* The same if the kernel does not have the region any more. */
void manager_lose_region(Manager *manager, Region *region, const char *why);
/* A random number, for the ID of a region or of a lease. Never fails. */
uint64_t manager_random_id(Manager *manager);
/*
 * Whether the caller, which may be NULL, may change the log; if so, logs the change. `what` is "log level" or "log target", and
 * value its new value. 0, or negative errno with *error set.
 */
int manager_permit_log_change(Manager *manager, const Identity *who, const char *what, const char *value,
                              sd_bus_error *error);
/* Sets *error to say that the limit is reached, with its value and setting. Returns the negative errno of that error. */
int manager_limit_reached(Manager *manager, Limit limit, sd_bus_error *error);
