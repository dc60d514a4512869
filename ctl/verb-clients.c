/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command clients: lists a region's leases as the broker counts them or, with --sharers, its processes as the kernel shows
 * them. holders.c finds the processes that hold a lease.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus.h"
#include "format.h"
#include "holders.h"
#include "process.h"
#include "sharers.h"
#include "table.h"
#include "util.h"
#include "verbs.h"

#define PROC "/proc"
#define SIGNATURE "uusst"

static const Column columns[] = {
        { "user", COLUMN_TEXT_ONLY, NULL },
        { "uid", COLUMN_JSON_ONLY, NULL },
        { "pid", COLUMN_RIGHT, NULL },
        { "unit", 0, NULL },
        { "access", 0, NULL },
        { "since", 0, NULL },
        { "process", COLUMN_JSON_ONLY, NULL },
        { "held_by", COLUMN_JSON_ONLY, "held by" },
};

/* The columns from this one on name the holders of the lease. */
#define FIRST_OF_HOLDERS 6

/* How many holders of a lease the table shows. */
#define SHOWN_MAX 3

typedef struct Client {
        char *unit, *access;
        Holder holder;
} Client;

typedef struct Clients {
        Client *list;
        Holder *holders;
        size_t n;
} Clients;

static void clients_done(Clients *c) {
        size_t i;

        for (i = 0; i < c->n; i++) {
                free(c->list[i].unit);
                free(c->list[i].access);
                holder_done(c->holders + i);
        }
        free(c->list);
        free(c->holders);
        *c = (Clients){};
}

static int read_client(sd_bus_message *m, Clients *c) {
        const char *unit, *access;
        Holder *holders;
        uint32_t uid, pid;
        uint64_t since;
        Client *list;
        int r;

        r = sd_bus_message_read(m, "(" SIGNATURE ")", &uid, &pid, &unit, &access, &since);
        if (r <= 0)
                return r;
        list = reallocarray(c->list, c->n + 1, sizeof(*list));
        if (list)
                c->list = list;
        holders = reallocarray(c->holders, c->n + 1, sizeof(*holders));
        if (holders)
                c->holders = holders;
        if (!list || !holders)
                return -ENOMEM;
        list[c->n] = (Client){ .unit = strdup(unit), .access = strdup(access) };
        holders[c->n] = (Holder){ .uid = uid, .pid = (pid_t) pid, .since = since };
        c->n++;
        return list[c->n - 1].unit && list[c->n - 1].access ? 1 : -ENOMEM;
}

/*
 * Whether /proc shows the processes whose PIDs the broker reports. It does not on another machine, in a container with a PID
 * namespace of its own, or if this user may not see the broker.
 */
static bool sees_processes(sd_bus *bus, const Arguments *a) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        char command[64];
        pid_t pid;

        if (a->host || a->machine || sd_bus_get_name_creds(bus, BUS_NAME, SD_BUS_CREDS_PID, &creds) < 0 ||
            sd_bus_creds_get_pid(creds, &pid) < 0)
                return false;
        process_read_command(PROC, pid, command, sizeof(command));
        return strncmp(command, "mshared", strlen("mshared")) == 0;
}

static int add_holders(Table *t, const Holder *h) {
        _cleanup_(freep) char *text = NULL, *json = NULL;
        bool gone = h->state == HOLDER_LEFT || h->state == HOLDER_ENDED;
        size_t text_size, json_size, i;
        FILE *f, *g;
        int r;

        f = open_memstream(&text, &text_size);
        if (!f)
                return -ENOMEM;
        g = open_memstream(&json, &json_size);
        if (!g) {
                (void) fclose(f);
                return -ENOMEM;
        }
        for (i = 0; i < h->n_pids; i++) {
                char command[64];

                (void) fprintf(g, "%s%d", i > 0 ? "," : "[", (int) h->pids[i]);
                if (i >= SHOWN_MAX)
                        continue;
                process_read_command(PROC, h->pids[i], command, sizeof(command));
                (void) fprintf(f, "%s%d %s", i > 0 ? ", " : "", (int) h->pids[i], command);
        }
        if (h->n_pids > SHOWN_MAX)
                (void) fprintf(f, ", %zu more", h->n_pids - SHOWN_MAX);
        if (gone && h->n_pids == 0)
                (void) fputs("a process that only root can see", f);
        (void) fputs(h->n_pids > 0 ? "]" : "null", g);
        r = fclose(f) != 0 ? -ENOMEM : 0;
        if (fclose(g) != 0)
                r = -ENOMEM;
        if (r >= 0) {
                _cleanup_(freep) char *printable = format_printable(text[0] ? text : "-");

                r = printable ? table_add_value(t, printable, json) : -ENOMEM;
        }
        return r;
}

static int add_client(Table *t, const Client *c, const Holder *h) {
        char user[64], since_text[64];

        if (table_add_string(t, format_uid(h->uid, user, sizeof(user))) < 0 || table_add_number(t, h->uid, NULL) < 0 ||
            table_add_number(t, (uint64_t) h->pid, h->pid == 0 ? "-" : NULL) < 0 || table_add_string(t, c->unit) < 0 ||
            table_add_string(t, c->access) < 0 ||
            table_add_number(t, h->since, format_time(h->since, since_text, sizeof(since_text))) < 0 ||
            table_add_string(t, holder_state_to_string(h->state)) < 0)
                return -ENOMEM;
        return add_holders(t, h);
}

static int print_clients(const Clients *c, const Arguments *a) {
        _cleanup_(table_freep) Table *t = NULL;
        Column shown[ELEMENTSOF(columns)];
        bool anyone_left = false;
        size_t i;
        int r;

        for (i = 0; i < c->n; i++)
                if (c->holders[i].state == HOLDER_LEFT || c->holders[i].state == HOLDER_ENDED)
                        anyone_left = true;
        for (i = 0; i < ELEMENTSOF(columns); i++) {
                shown[i] = columns[i];
                /* Show the two columns of holders only if some lease is held by a process other than its caller. */
                if (anyone_left && i >= FIRST_OF_HOLDERS)
                        shown[i].flags = 0;
        }
        r = table_new(shown, ELEMENTSOF(shown), &t);
        for (i = 0; r >= 0 && i < c->n; i++)
                r = add_client(t, c->list + i, c->holders + i);
        return r < 0 ? r : table_print(t, a, "client");
}

int verb_clients(const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(clients_done) Clients clients = {};
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

        r = sd_bus_message_enter_container(reply, 'a', "(" SIGNATURE ")");
        while (r >= 0 && (r = read_client(reply, &clients)) > 0)
                ;
        if (r < 0)
                return bus_message_failed(what, r);
        if (clients.n > 0 && sees_processes(bus, a) && holders_find(PROC, clients.holders, clients.n) < 0)
                return bus_out_of_memory();
        return print_clients(&clients, a) < 0 ? bus_out_of_memory() : STATUS_OK;
}
