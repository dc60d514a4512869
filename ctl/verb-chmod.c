/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command chmod: changes the mode of regions through the broker, which checks the caller's rights. */

#include "bus.h"
#include "util.h"
#include "verbs.h"
#include "words.h"

static int set_mode(sd_bus *bus, const char *name, uint32_t mode, const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        static const char what[] = "Cannot change the mode";
        int r;

        r = bus_new_call(bus, "SetRegionMode", &m);
        if (r != STATUS_OK)
                return r;
        r = sd_bus_message_append(m, "su", name, mode);
        if (r < 0)
                return bus_message_failed(what, r);
        return bus_call(bus, m, true, a, what, NULL);
}

int verb_chmod(const Arguments *a) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int i, r, status;
        uint32_t mode;

        status = parse_mode_word(a->names[0], &mode);
        if (status == STATUS_OK)
                status = bus_connect(a, &bus);
        if (status != STATUS_OK)
                return status;

        for (i = 1; i < a->n_names; i++) {
                r = set_mode(bus, a->names[i], mode, a);
                if (r != STATUS_OK)
                        status = r;
        }
        return status;
}
