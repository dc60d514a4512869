/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command clients: lists a region's leases as the broker counts them, or with --sharers its processes as the kernel
 * shows them.
 */

#include <inttypes.h>
#include <stdio.h>

#include "bus.h"
#include "format.h"
#include "sharers.h"
#include "table.h"
#include "util.h"

#define SIGNATURE "uusst"

static const Column columns[] = {
        { "user", COLUMN_TEXT_ONLY, NULL },
        { "uid", COLUMN_JSON_ONLY, NULL },
        { "pid", COLUMN_RIGHT, NULL },
        { "unit", 0, NULL },
        { "access", 0, NULL },
        { "since", 0, NULL },
};

static int add_client(Table *t, sd_bus_message *m) {
        char user[64], since_text[64];
        const char *unit, *access;
        uint32_t uid, pid;
        uint64_t since;
        int r;

        r = sd_bus_message_read(m, "(" SIGNATURE ")", &uid, &pid, &unit, &access, &since);
        if (r <= 0)
                return r;

        if (table_add_string(t, format_uid(uid, user, sizeof(user))) < 0 || table_add_number(t, uid, NULL) < 0 ||
            table_add_number(t, pid, pid == 0 ? "-" : NULL) < 0 || table_add_string(t, unit) < 0 ||
            table_add_string(t, access) < 0 ||
            table_add_number(t, since, format_time(since, since_text, sizeof(since_text))) < 0)
                return -ENOMEM;
        return 1;
}

int verb_clients(const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(table_freep) Table *t = NULL;
        static const char what[] = "Cannot list clients";
        int r;

        if (a->sharers)
                return sharers_print(a->names[0], a);

        r = bus_connect(a, &bus);
        if (r == STATUS_OK)
                r = bus_new_call(bus, "ListClients", &m);
        if (r != STATUS_OK)
                return r;
        r = sd_bus_message_append(m, "s", a->names[0]);
        if (r < 0)
                return bus_message_failed(what, r);
        r = bus_call(bus, m, false, a, what, &reply);
        if (r != STATUS_OK)
                return r;

        r = table_new(columns, ELEMENTSOF(columns), &t);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(" SIGNATURE ")");
        while (r >= 0 && (r = add_client(t, reply)) > 0)
                ;
        if (r < 0)
                return bus_message_failed(what, r);

        return table_print(t, a, "client") < 0 ? bus_out_of_memory() : STATUS_OK;
}
