/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the objects on the bus share: which step a method has, and which callers see addresses. It knows no interface; those are
 * in manager-bus.c and region-bus.c.
 */

#include "bus/face.h"
#include "core/region-rights.h"

CallStep face_find_step(const FaceStep *steps, sd_bus_message *m) {
        const char *member = sd_bus_message_get_member(m);

        /* The vtable has the same members, so there is one. */
        while (steps->member && !streq(steps->member, member))
                steps++;
        return steps->step;
}

bool face_may_see_address(Manager *m, sd_bus_message *message, const Region *region) {
        const RegionRecord *record = &region->record;
        const Identity *who;

        if (m->broadcasting || !message)
                return false;
        who = callers_find(m->callers, message);
        return who && (who->uid == record->uid || region_admits(region, who, ACCESS_READ));
}
