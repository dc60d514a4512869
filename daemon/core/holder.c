/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Holders: a holder is the connection of the process that populates a suspended region, and that will set its mode. This file
 * names and recognizes holders. It neither suspends regions nor ends suspensions: see suspension.c.
 */

#include "core/holder.h"

/* How often. */
#define LOOK_USEC (10 * USEC_PER_SEC)

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) holders_look(userdata);
        return 0;
}

static int watch(Manager *m) {
        int r = 0;

        if (!m->holders_source)
                r = sd_event_add_time_relative(m->event, &m->holders_source, CLOCK_MONOTONIC, LOOK_USEC, LOOK_USEC / 10,
                                               on_time, m);
        else if (sd_event_source_get_enabled(m->holders_source, NULL) == 0)
                r = sd_event_source_set_time_relative(m->holders_source, LOOK_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(m->holders_source, SD_EVENT_ONESHOT);
}

/* A bus never reuses a unique name, but the next bus starts counting again. So the text includes the ID of the bus. */
char *holder_new(Manager *m, Call *call) {
        char *text;

        if (watch(m) < 0)
                return NULL;
        return asprintf(&text, "%s%s", m->bus_id, call_sender(call)) < 0 ? NULL : text;
}

bool holder_is(const Region *region, const char *sender) {
        const char *holder = region->record.holder;
        size_t n = strlen(region->manager->bus_id);

        return holder && strncmp(holder, region->manager->bus_id, n) == 0 && streq(holder + n, sender);
}

/* The region is closed, so its users must learn why. */
static void tell(Region *region, const char *why) {
        if (region->holder_told)
                return;
        region->holder_told = true;
        log_region(&region->manager->log, LOG_WARNING, NULL, region->record.name,
                   "The bus does not say whether the process that populates region %s still exists (%s): the region "
                   "stays closed, and the bus is asked again every %d s",
                   region->record.name, why, (int) (LOOK_USEC / USEC_PER_SEC));
}

int holders_look(Manager *m) {
        size_t n = strlen(m->bus_id);
        bool any = false;
        Region *region;
        int r;

        LIST_FOREACH(region, &m->regions, regions) {
                const char *holder = region->record.holder;

                if (!holder || strncmp(holder, m->bus_id, n) != 0)
                        continue;
                any = true;
                r = callers_look_for(m->callers, holder + n);
                if (r < 0)
                        tell(region, strerror(-r));
                else if (r == 0 && region->holder_asked)
                        tell(region, "no answer");
                region->holder_asked = true;
        }
        return any ? watch(m) : 0;
}

void holder_save(Region *region) {
        int r = region_save(region);

        if (r < 0)
                log_region(&region->manager->log, LOG_ERR, NULL, region->record.name,
                           "Cannot save the state of region %s: %s", region->record.name, strerror(-r));
}

void holder_overrule(Region *region, Call *call) {
        if (!region->record.has_before || holder_is(region, call_sender(call)))
                return;
        region_record_overrule(&region->record);
        holder_save(region);
}
