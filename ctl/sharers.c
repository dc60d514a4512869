/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finds the processes that have a region attached, from /proc alone, and prints them. It does not ask the broker. */

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-login.h>

#include "bus.h"
#include "format.h"
#include "kinds.h"
#include "place.h"
#include "process.h"
#include "sharers.h"
#include "table.h"
#include "util.h"

#define PROC "/proc"

static const Column columns[] = {
        { "user", COLUMN_TEXT_ONLY, NULL },
        { "uid", COLUMN_JSON_ONLY, NULL },
        { "pid", COLUMN_RIGHT, NULL },
        { "unit", 0, NULL },
        { "access", 0, NULL },
        { "command", 0, NULL },
};

static int add_sharer(Table *t, pid_t pid, const Mapping *window) {
        _cleanup_(freep) char *unit = NULL;
        char path[64], user[64], command[64];
        struct stat st;

        (void) snprintf(path, sizeof(path), PROC "/%d", (int) pid);
        /* It may have exited. */
        if (stat(path, &st) < 0)
                return 0;
        if (sd_pid_get_unit(pid, &unit) < 0)
                unit = NULL;
        process_read_command(PROC, pid, command, sizeof(command));
        if (table_add_string(t, format_uid(st.st_uid, user, sizeof(user))) < 0 ||
            table_add_number(t, st.st_uid, NULL) < 0 || table_add_number(t, (uint64_t) pid, NULL) < 0 ||
            table_add_string(t, unit) < 0 ||
            table_add_string(t, access_to_string(window->perms[1] == 'w' ? ACCESS_READ_WRITE : ACCESS_READ)) < 0 ||
            table_add_string(t, command) < 0)
                return -ENOMEM;
        return 0;
}

/* Increments *hidden if this user may not read the mappings of the process, else *found. */
static int look_at(pid_t pid, const Place *place, Table *t, size_t *hidden, size_t *found) {
        _cleanup_(mappings_done) Mappings m = {};
        size_t i;
        int r;

        r = process_read_mappings(PROC, pid, &m);
        if (r == -EACCES)
                (*hidden)++;
        for (i = 0; r >= 0 && i < m.n; i++) {
                r = place_has_window(place, PROC, pid, m.list + i);
                if (r > 0) {
                        (*found)++;
                        return add_sharer(t, pid, m.list + i);
                }
                if (r == -EACCES)
                        (*hidden)++;
        }
        return r == -ENOMEM ? r : 0;
}

int sharers_print(const char *region, const Arguments *a) {
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_(freep) pid_t *pids = NULL;
        size_t n = 0, i, hidden = 0, found = 0;
        Place place;
        int r;

        r = place_find(region, &place);
        if (r != STATUS_OK)
                return r;
        if (place.missing) {
                complain("Cannot list sharers: there is no region '%s'", region);
                return STATUS_NO_REGION;
        }

        r = table_new(columns, ELEMENTSOF(columns), &t);
        if (r >= 0)
                r = process_list(PROC, &pids, &n);
        for (i = 0; r >= 0 && i < n; i++)
                r = look_at(pids[i], &place, t, &hidden, &found);
        if (r < 0) {
                complain("Cannot list sharers: %s", strerror(-r));
                return STATUS_FAILED;
        }
        if (!place.mounted && found == 0) {
                complain("Cannot list sharers: msharefs is not mounted on " MSHAREFS_PATH "%s",
                         hidden > 0 ? ", and without it only root can see regions" : "");
                return STATUS_UNSUPPORTED;
        }
        if (table_print(t, a, "sharer") < 0)
                return bus_out_of_memory();
        if (hidden > 0 && a->legend && a->json == JSON_OFF)
                (void) fprintf(stderr, "Processes of other users: %zu. Only root can see whether they share it.\n",
                               hidden);
        return STATUS_OK;
}
