/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>

#include "bus.h"
#include "format.h"
#include "table.h"
#include "util.h"

#define SIGNATURE "sottuuuus"

static const struct column columns[] = {
        {"name", 0},
        {"window", COLUMN_TEXT_ONLY | COLUMN_RIGHT},
        {"address", 0},
        {"length", COLUMN_JSON_ONLY},
        {"mode", 0},
        {"owner", COLUMN_TEXT_ONLY},
        {"uid", COLUMN_JSON_ONLY},
        {"gid", COLUMN_JSON_ONLY},
        {"clients", COLUMN_RIGHT},
        {"state", 0},
        {"object", COLUMN_JSON_ONLY},
};

static void table_freep(struct table **t) {
        *t = table_free(*t);
}

static int add_region(struct table *t, sd_bus_message *m) {
        char shown[32], address_text[32], mode_text[8], user[64], group[64], owner[130];
        const char *name, *object, *state;
        uint32_t mode, uid, gid, clients;
        uint64_t address, length;
        int r;

        r = sd_bus_message_read(
                m, "(" SIGNATURE ")", &name, &object, &address, &length, &mode, &uid, &gid, &clients, &state);
        if (r <= 0)
                return r;

        (void) snprintf(address_text, sizeof(address_text), "0x%" PRIx64, address);
        (void) snprintf(mode_text, sizeof(mode_text), "%04" PRIo32, mode & 0777);
        (void) snprintf(owner,
                        sizeof(owner),
                        "%s:%s",
                        format_uid(uid, user, sizeof(user)),
                        format_gid(gid, group, sizeof(group)));

        /* To those who may not acquire a region the broker does not tell where it lies. */
        if (table_add_string(t, name) < 0 ||
            table_add_string(t, length ? format_bytes(length, shown, sizeof(shown)) : NULL) < 0 ||
            (address ? table_add_number(t, address, address_text) : table_add_null(t)) < 0 ||
            (length ? table_add_number(t, length, NULL) : table_add_null(t)) < 0 ||
            table_add_number(t, mode & 0777, mode_text) < 0 || table_add_string(t, owner) < 0 ||
            table_add_number(t, uid, NULL) < 0 || table_add_number(t, gid, NULL) < 0 ||
            table_add_number(t, clients, NULL) < 0 || table_add_string(t, state) < 0 ||
            table_add_string(t, object) < 0)
                return -ENOMEM;
        return 1;
}

int verb_list(const struct arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(table_freep) struct table *t = NULL;
        static const char what[] = "Cannot list regions";
        int r;

        r = bus_connect(&bus);
        if (r == STATUS_OK)
                r = bus_new_call(bus, "ListRegions", &m);
        if (r == STATUS_OK)
                r = bus_call(bus, m, false, a, what, &reply);
        if (r != STATUS_OK)
                return r;

        r = table_new(columns, ELEMENTSOF(columns), &t);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(" SIGNATURE ")");
        while (r >= 0 && (r = add_region(t, reply)) > 0)
                ;
        if (r < 0)
                return bus_message_failed(what, r);

        table_sort(t);
        return table_print(t, a, "region") < 0 ? bus_out_of_memory() : STATUS_OK;
}
