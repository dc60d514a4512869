/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command resize: changes the size of a region through the broker, within its window. */

#include "bus.h"
#include "quantity.h"
#include "util.h"
#include "verbs.h"

int verb_resize(const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        static const char what[] = "Cannot resize the region";
        uint64_t size;
        int r;

        if (parse_amount(a->names[1], &size) < 0) {
                complain("Invalid size '%s': expected " AMOUNT_FORM, a->names[1]);
                return STATUS_USAGE;
        }
        r = bus_connect(a, &bus);
        if (r == STATUS_OK)
                r = bus_new_call(bus, "ResizeRegion", &m);
        if (r != STATUS_OK)
                return r;

        r = sd_bus_message_append(m, "st", a->names[0], size);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && a->force)
                r = sd_bus_message_append(m, "{sv}", "force", "b", 1);
        if (r >= 0 && a->populate)
                r = sd_bus_message_append(m, "{sv}", "populate", "b", 1);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0)
                return bus_message_failed(what, r);
        return bus_call(bus, m, true, a, what, NULL);
}
