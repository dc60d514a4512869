/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the objects on the bus share: how a call gets to its method, and who the reader of an address is. It knows no interface:
 * those are in manager-bus.c and region-bus.c.
 */

#include <errno.h>

#include "bus/call-counts.h"
#include "bus/face-types.h"
#include "bus/face.h"
#include "core/region-rights.h"

int face_new(Manager *m, Face **ret) {
        m->face = *ret = calloc(1, sizeof(Face));
        return *ret ? 0 : -ENOMEM;
}

void face_free(Face *face) {
        if (!face)
                return;
        sd_event_source_disable_unref(face->notify);
        free(face->call_counts);
        free(face);
}

int face_call(Manager *manager, const FaceMethod *methods, sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(m);
        int r;

        /* The vtable is made from the same list, so one matches. */
        while (methods->member && !streq(methods->member, member))
                methods++;
        if (methods->step)
                r = authz_run(manager->authz, m, methods->step, userdata, error);
        else
                r = methods->handler ? methods->handler(m, userdata, error) : -ENOSYS;
        if (r < 0)
                call_counts_error(manager, m);
        return r;
}

bool face_may_see_address(Manager *m, sd_bus_message *message, const Region *region) {
        const Identity *who;

        if (m->face->broadcasting || !message)
                return false;
        who = callers_find(m->callers, message);
        return who && region_shows_address(region, who);
}
