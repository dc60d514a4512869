/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command show: prints properties for programs, unformatted, one on a line. */

#include <stdio.h>

#include "bus.h"
#include "properties.h"
#include "util.h"
#include "verbs.h"

static int print(Properties *p, const Arguments *a) {
        size_t i;
        int r;

        r = properties_select(p, a);
        if (r != STATUS_OK)
                return r;
        if (a->json != JSON_OFF)
                return properties_print_json(p, a->json);
        for (i = 0; i < p->n; i++) {
                if (!a->value)
                        (void) printf("%s=", p->list[i].name);
                r = property_print_value(p->list + i);
                if (r != STATUS_OK)
                        return r;
                (void) putchar('\n');
        }
        return STATUS_OK;
}

static int show_region(sd_bus *bus, const char *name, const Arguments *a) {
        _cleanup_(properties_done) Properties p = {};
        _cleanup_(freep) char *path = NULL;
        static const char what[] = "Cannot show a region";
        int r;

        r = bus_region_path(bus, name, a, what, &path);
        if (r == STATUS_OK)
                r = properties_get(bus, path, BUS_REGION_INTERFACE, a, what, &p);
        return r == STATUS_OK ? print(&p, a) : r;
}

int verb_show(const Arguments *a) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(properties_done) Properties p = {};
        int i, r, status = STATUS_OK;

        r = bus_connect(a, &bus);
        if (r != STATUS_OK)
                return r;
        if (a->n_names == 0) {
                r = properties_get(bus, BUS_PATH, BUS_MANAGER_INTERFACE, a, "Cannot show the broker", &p);
                return r == STATUS_OK ? print(&p, a) : r;
        }
        for (i = 0; i < a->n_names; i++) {
                if (i > 0 && a->json == JSON_OFF && !a->value)
                        (void) putchar('\n');
                r = show_region(bus, a->names[i], a);
                if (r != STATUS_OK)
                        status = r;
        }
        return status;
}
