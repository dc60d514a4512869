/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command remove: removes regions through the broker. It does not ask for confirmation. */

#include "bus.h"
#include "util.h"
#include "verbs.h"

static int remove_region(sd_bus *bus, const char *name, const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        static const char what[] = "Cannot remove the region";
        int r;

        r = bus_new_call(bus, "RemoveRegion", &m);
        if (r != STATUS_OK)
                return r;

        r = sd_bus_message_append(m, "s", name);
        if (r >= 0)
                r = a->force ? sd_bus_message_append(m, "a{sv}", 1, "force", "b", 1)
                             : sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0)
                return bus_message_failed(what, r);
        return bus_call(bus, m, true, a, what, NULL);
}

int verb_remove(const Arguments *a) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int i, r, status;

        status = bus_connect(a, &bus);
        if (status != STATUS_OK)
                return status;

        for (i = 0; i < a->n_names; i++) {
                r = remove_region(bus, a->names[i], a);
                if (r != STATUS_OK)
                        status = r;
        }
        return status;
}
