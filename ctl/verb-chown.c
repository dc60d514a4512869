/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command chown: changes the owner of regions through the broker. */

#include "bus.h"
#include "properties.h"
#include "util.h"
#include "words.h"

static int set_owner(sd_bus *bus, const char *name, Owner owner, const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(properties_done) Properties p = {};
        _cleanup_(freep) char *path = NULL;
        static const char what[] = "Cannot change the owner";
        int r;

        /* The call sets both, so pass the current value of the one that stays. */
        if (!owner.has_uid || !owner.has_gid) {
                r = bus_region_path(bus, name, a, what, &path);
                if (r == STATUS_OK)
                        r = properties_get(bus, path, BUS_REGION_INTERFACE, a, what, &p);
                if (r != STATUS_OK)
                        return r;
                if (!owner.has_uid)
                        owner.uid = (uint32_t) properties_number(&p, "UID");
                if (!owner.has_gid)
                        owner.gid = (uint32_t) properties_number(&p, "GID");
        }

        r = bus_new_call(bus, "SetRegionOwner", &m);
        if (r != STATUS_OK)
                return r;
        r = sd_bus_message_append(m, "suu", name, owner.uid, owner.gid);
        if (r < 0)
                return bus_message_failed(what, r);
        return bus_call(bus, m, true, a, what, NULL);
}

int verb_chown(const Arguments *a) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        Owner owner;
        int i, r, status;

        status = parse_owner_word(a, a->names[0], &owner);
        if (status == STATUS_OK)
                status = bus_connect(a, &bus);
        if (status != STATUS_OK)
                return status;

        for (i = 1; i < a->n_names; i++) {
                r = set_owner(bus, a->names[i], owner, a);
                if (r != STATUS_OK)
                        status = r;
        }
        return status;
}
