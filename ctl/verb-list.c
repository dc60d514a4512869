/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command list: all regions in a table, with the values that the broker reports. */

#include <inttypes.h>
#include <stdio.h>

#include "bus.h"
#include "format.h"
#include "regions.h"
#include "table.h"
#include "util.h"
#include "verbs.h"

/* The last two columns are shown only on request. */
static const Column columns[] = {
        { "name", 0, NULL },
        { "size", COLUMN_RIGHT, NULL },
        { "resident", COLUMN_RIGHT, NULL },
        { "sharers", COLUMN_RIGHT, NULL },
        { "clients", COLUMN_RIGHT, NULL },
        { "page_tables", COLUMN_RIGHT, "tables" },
        { "saved", COLUMN_RIGHT, NULL },
        { "mode", 0, NULL },
        { "owner", COLUMN_TEXT_ONLY, NULL },
        { "uid", COLUMN_JSON_ONLY, NULL },
        { "gid", COLUMN_JSON_ONLY, NULL },
        { "state", 0, NULL },
        { "object", COLUMN_JSON_ONLY, NULL },
        { "address", 0, NULL },
        { "length", COLUMN_RIGHT, "window" },
};

static int add_bytes(Table *t, uint64_t n) {
        char text[32];

        return table_add_number(t, n, format_bytes(n, text, sizeof(text)));
}

/* The broker does not reveal the address to users that may not acquire the region. */
static int add_place(Table *t, Properties *p) {
        uint64_t address = properties_number(p, "Address"), length = properties_number(p, "Length");
        char text[32];
        int r;

        (void) snprintf(text, sizeof(text), "0x%" PRIx64, address);
        r = address ? table_add_number(t, address, text) : table_add_null(t);
        if (r < 0)
                return r;
        return length ? add_bytes(t, length) : table_add_null(t);
}

static int add_region(Table *t, Region *region) {
        uint32_t uid = (uint32_t) properties_number(&region->properties, "UID");
        uint32_t gid = (uint32_t) properties_number(&region->properties, "GID");
        uint32_t mode = properties_number(&region->properties, "Mode") & 0777;
        char mode_text[8], user[64], group[64], owner[130];

        (void) snprintf(mode_text, sizeof(mode_text), "%04" PRIo32 "%s", mode, region->has_acl ? "+" : "");
        (void) snprintf(owner, sizeof(owner), "%s:%s", format_uid(uid, user, sizeof(user)),
                        format_gid(gid, group, sizeof(group)));

        if (table_add_string(t, region->name) < 0 || add_bytes(t, region->size) < 0 ||
            add_bytes(t, region->resident) < 0 || table_add_number(t, region->sharers, NULL) < 0 ||
            table_add_number(t, region->clients, NULL) < 0 || add_bytes(t, region->page_tables) < 0 ||
            add_bytes(t, region->saved) < 0 || table_add_number(t, mode, mode_text) < 0 ||
            table_add_string(t, owner) < 0 || table_add_number(t, uid, NULL) < 0 ||
            table_add_number(t, gid, NULL) < 0 || table_add_string(t, region->state) < 0 ||
            table_add_string(t, region->object) < 0 || add_place(t, &region->properties) < 0)
                return -ENOMEM;
        return 0;
}

int verb_list(const Arguments *a) {
        Column shown[ELEMENTSOF(columns)];
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(regions_done) Regions regions = {};
        _cleanup_(table_freep) Table *t = NULL;
        size_t i;
        int r;

        if (a->sort && !regions_sort_known(a->sort)) {
                complain("Invalid --sort '%s': expected one of " SORT_WORDS, a->sort);
                return STATUS_USAGE;
        }

        r = bus_connect(a, &bus);
        if (r == STATUS_OK)
                r = regions_get(bus, a, "Cannot list regions", &regions);
        if (r != STATUS_OK)
                return r;
        if (a->sort)
                regions_sort(&regions, a->sort);

        for (i = 0; i < ELEMENTSOF(columns); i++) {
                shown[i] = columns[i];
                if (!a->addresses && i >= ELEMENTSOF(columns) - 2)
                        shown[i].flags |= COLUMN_JSON_ONLY;
        }
        r = table_new(shown, ELEMENTSOF(columns), &t);
        for (i = 0; r >= 0 && i < regions.n; i++)
                r = add_region(t, regions.list + i);
        return r < 0 || table_print(t, a, "region") < 0 ? bus_out_of_memory() : STATUS_OK;
}
