/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Sends signals and changes of properties, and the status line for systemd. It implements core/announce.h, so that the core
 * does not know messages. It decides nothing, and changes only the dirty bits and `announced` of a region.
 */

#include <errno.h>
#include <systemd/sd-daemon.h>

#include "bus/face-types.h"
#include "core/announce.h"
#include "core/manager.h"

/* Changes are collected for this long: 1500 clients that arrive at once cause a few signals, not 1500. */
#define NOTIFY_DELAY_USEC (100 * USEC_PER_MSEC)

#define PROPERTIES_MAX 16

typedef struct Names {
        char *v[PROPERTIES_MAX];
        size_t n;
} Names;

static void add(Names *names, const char *name) {
        names->v[names->n++] = (char *) name;
        names->v[names->n] = NULL;
}

static void tell(Manager *m, const char *path, const char *interface, Names *names) {
        int r;

        if (names->n == 0)
                return;
        m->face->broadcasting = true;
        r = sd_bus_emit_properties_changed_strv(m->bus, path, interface, names->v);
        m->face->broadcasting = false;
        if (r < 0 && r != -ENOTCONN)
                log_message(&m->log, LOG_WARNING, "Cannot announce changed properties of %s: %s", path, strerror(-r));
}

static void tell_region(Manager *m, Region *region) {
        Names names = {};

        if (region->dirty & REGION_DIRTY_CLIENTS)
                add(&names, "NClients");
        if (region->dirty & REGION_DIRTY_MODE)
                add(&names, "Mode");
        if (region->dirty & REGION_DIRTY_OWNER) {
                add(&names, "UID");
                add(&names, "GID");
        }
        if (region->dirty & REGION_DIRTY_STATE)
                add(&names, "State");
        if (region->dirty & REGION_DIRTY_SIZE)
                add(&names, "Size");
        if (region->dirty & REGION_DIRTY_PROGRESS)
                add(&names, "Progress");
        region->dirty = 0;
        tell(m, region->path, BUS_REGION_INTERFACE, &names);
}

void manager_tell_status(Manager *m, bool ready) {
        (void) sd_notifyf(false, "%sSTATUS=%u region%s, %u client%s", ready ? "READY=1\n" : "", m->n_regions,
                          m->n_regions == 1 ? "" : "s", m->n_leases, m->n_leases == 1 ? "" : "s");
}

void manager_flush(Manager *m) {
        Names names = {};
        Region *region;

        if (m->dirty & (MANAGER_DIRTY_REGIONS | MANAGER_DIRTY_CLIENTS))
                manager_tell_status(m, false);

        LIST_FOREACH(region, &m->regions, regions)
                tell_region(m, region);
        if (m->dirty & MANAGER_DIRTY_REGIONS)
                add(&names, "NRegions");
        if (m->dirty & MANAGER_DIRTY_CLIENTS)
                add(&names, "NClients");
        if (m->dirty & MANAGER_DIRTY_LIMITS)
                for (Limit l = 0; l < _LIMIT_MAX; l++)
                        add(&names, limit_name(l));
        m->dirty = 0;
        tell(m, BUS_PATH, BUS_MANAGER_INTERFACE, &names);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        manager_flush(userdata);
        return 0;
}

static void arm(Manager *m) {
        int enabled = SD_EVENT_OFF, r;

        /* There is no bus connection yet. */
        if (!m->face)
                return;
        if (!m->face->notify) {
                r = sd_event_add_time_relative(m->event, &m->face->notify, CLOCK_MONOTONIC, NOTIFY_DELAY_USEC,
                                               NOTIFY_DELAY_USEC / 10, on_time, m);
        } else {
                r = sd_event_source_get_enabled(m->face->notify, &enabled);
                if (r >= 0 && enabled != SD_EVENT_OFF)
                        return;
                r = sd_event_source_set_time_relative(m->face->notify, NOTIFY_DELAY_USEC);
                if (r >= 0)
                        r = sd_event_source_set_enabled(m->face->notify, SD_EVENT_ONESHOT);
        }
        /* Without a timer, send each change at once. */
        if (r < 0)
                manager_flush(m);
}

void manager_mark(Manager *m, unsigned dirty) {
        m->dirty |= dirty;
        arm(m);
}

void region_mark(Region *region, unsigned dirty) {
        region->dirty |= dirty;
        arm(region->manager);
}

void manager_announce_region(Manager *m, Region *region) {
        region->announced = true;
        if (!m->bus)
                return;
        m->face->broadcasting = true;
        (void) sd_bus_emit_object_added(m->bus, region->path);
        m->face->broadcasting = false;
        (void) sd_bus_emit_signal(m->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "RegionAdded", "so", region->record.name,
                                  region->path);
}

void manager_announce_end(Manager *m, const char *path) {
        static const char *const interfaces[] = { BUS_REGION_INTERFACE, NULL };

        /* The interfaces are named here, because the library cannot ask an object that is gone already. */
        if (m->bus)
                (void) sd_bus_emit_interfaces_removed_strv(m->bus, path, (char **) interfaces);
}

void manager_announce_removal(Manager *m, const char *name, const char *path) {
        if (!m->bus)
                return;
        manager_announce_end(m, path);
        (void) sd_bus_emit_signal(m->bus, BUS_PATH, BUS_MANAGER_INTERFACE, "RegionRemoved", "so", name, path);
}

void manager_announce_client(Manager *m, const char *member, const char *region, uid_t uid) {
        if (m->bus)
                (void) sd_bus_emit_signal(m->bus, BUS_PATH, BUS_MANAGER_INTERFACE, member, "su", region,
                                          (uint32_t) uid);
}
