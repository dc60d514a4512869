/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command chown: changes the owner of regions through the broker, which checks the caller's rights. */

#include "bus.h"
#include "util.h"
#include "verbs.h"
#include "words.h"

/* For this number, the broker leaves user or group as it is, even if another caller has just changed it. */
#define LEAVE UINT32_MAX

static int set_owner(sd_bus *bus, const char *name, Owner owner, const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        static const char what[] = "Cannot change the owner";
        int r;

        r = bus_new_call(bus, "SetRegionOwner", &m);
        if (r != STATUS_OK)
                return r;
        r = sd_bus_message_append(m, "suu", name, owner.has_uid ? owner.uid : LEAVE, owner.has_gid ? owner.gid : LEAVE);
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
