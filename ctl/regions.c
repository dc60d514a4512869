/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Gets all regions with one call, from the broker's object manager, and sorts them. It prints only errors. */

#include <stddef.h>
#include <string.h>

#include "bus.h"
#include "quantity.h"
#include "regions.h"
#include "util.h"

static void region_done(Region *r) {
        free(r->object);
        properties_done(&r->properties);
}

void regions_done(Regions *regions) {
        size_t i;

        for (i = 0; i < regions->n; i++)
                region_done(regions->list + i);
        free(regions->list);
        *regions = (Regions){};
}

static void fill(Region *r) {
        Properties *p = &r->properties;

        r->name = properties_string(p, "Name");
        r->state = properties_string(p, "State");
        r->size = properties_number(p, "Size");
        r->resident = properties_number(p, "ResidentBytes");
        r->sharers = properties_number(p, "NSharers");
        r->clients = properties_number(p, "NClients");
        r->page_tables = properties_number(p, "PageTableBytes");
        r->saved = saved_bytes(r->sharers, r->page_tables);
        r->has_acl = properties_number(p, "Acl") > 0;
}

/* a{sa{sv}}: the interfaces of one object. 1: it is a region. */
static int read_interfaces(sd_bus_message *m, Properties *ret) {
        const char *interface;
        int r, found = 0;

        r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sa{sv}")) > 0) {
                r = sd_bus_message_read(m, "s", &interface);
                if (r < 0)
                        return r;
                if (streq(interface, BUS_REGION_INTERFACE) && !found) {
                        r = properties_read(m, ret);
                        found = 1;
                } else
                        r = sd_bus_message_skip(m, "a{sv}");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : found;
}

static int read_object(sd_bus_message *m, Regions *regions) {
        Region one = {}, *list;
        const char *path;
        int r;

        r = sd_bus_message_read(m, "o", &path);
        if (r < 0)
                return r;
        r = read_interfaces(m, &one.properties);
        if (r > 0) {
                one.object = strdup(path);
                list = reallocarray(regions->list, regions->n + 1, sizeof(*list));
                if (list)
                        regions->list = list;
                if (list && one.object) {
                        fill(&one);
                        regions->list[regions->n++] = one;
                        return 0;
                }
                r = -ENOMEM;
        }
        region_done(&one);
        return r;
}

static const struct {
        const char *name;
        size_t offset; /* of a number; 0: the name */
} sort_columns[] = {
        { "name", 0 },
        { "size", offsetof(Region, size) },
        { "resident", offsetof(Region, resident) },
        { "sharers", offsetof(Region, sharers) },
        { "clients", offsetof(Region, clients) },
        { "tables", offsetof(Region, page_tables) },
        { "saved", offsetof(Region, saved) },
};

static int compare(const void *a, const void *b, void *userdata) {
        const size_t *offset = userdata;
        uint64_t x, y;

        if (*offset > 0) {
                x = *(const uint64_t *) ((const char *) a + *offset);
                y = *(const uint64_t *) ((const char *) b + *offset);
                if (x != y)
                        return x > y ? -1 : 1;
        }
        return strcmp(((const Region *) a)->name, ((const Region *) b)->name);
}

static const size_t *find_column(const char *column) {
        size_t i;

        for (i = 0; i < ELEMENTSOF(sort_columns); i++)
                if (streq(sort_columns[i].name, column))
                        return &sort_columns[i].offset;
        return NULL;
}

bool regions_sort_known(const char *column) {
        return find_column(column) != NULL;
}

void regions_sort(Regions *regions, const char *column) {
        size_t offset = *(find_column(column) ?: &sort_columns[0].offset);

        if (regions->n > 0)
                qsort_r(regions->list, regions->n, sizeof(*regions->list), compare, &offset);
}

int regions_get(sd_bus *bus, const Arguments *a, const char *what, Regions *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(regions_done) Regions regions = {};
        int r;

        r = sd_bus_message_new_method_call(bus, &m, BUS_NAME, BUS_PATH, "org.freedesktop.DBus.ObjectManager",
                                           "GetManagedObjects");
        if (r < 0)
                return bus_message_failed(what, r);
        r = bus_call(bus, m, false, a, what, &reply);
        if (r != STATUS_OK)
                return r;

        r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "oa{sa{sv}}")) > 0) {
                r = read_object(reply, &regions);
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        if (r < 0)
                return bus_message_failed(what, r);

        regions_sort(&regions, "name");
        *ret = regions;
        regions = (Regions){};
        return STATUS_OK;
}
