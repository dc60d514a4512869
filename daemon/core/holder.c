/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Names and recognizes holders. A holder is the connection of the process that populates a suspended region and will then set
 * its mode. This file does not find out whether holders still exist, and neither begins nor ends suspensions: see suspension.c.
 */

#include "core/holder.h"

/* A bus never reuses a unique name, but the next bus starts counting again. So the text includes the ID of the bus. */
char *holder_new(Manager *m, Call *call) {
        char *text;

        return asprintf(&text, "%s%s", m->bus_id, call_sender(call)) < 0 ? NULL : text;
}

const char *holder_sender(const Region *region) {
        const char *holder = region->record.holder;
        size_t n = strlen(region->manager->bus_id);

        return holder && strncmp(holder, region->manager->bus_id, n) == 0 && holder[n] == ':' ? holder + n : NULL;
}

bool holder_is(const Region *region, const char *sender) {
        const char *holder = holder_sender(region);

        return holder && streq(holder, sender);
}

void holder_overrule(Region *region, Call *call) {
        if (!region->record.has_before || holder_is(region, call_sender(call)))
                return;
        region_record_overrule(&region->record);
        region_save_or_log(region);
}
