/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finds the processes that have a region attached, from /proc alone, and prints them. It does not ask the broker. */

#include <dirent.h>
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

static int compare_pids(const void *a, const void *b) {
        pid_t x = *(const pid_t *) a, y = *(const pid_t *) b;

        return x < y ? -1 : x > y;
}

/* All processes, in the order of their numbers. */
static int list_pids(pid_t **ret, size_t *ret_n) {
        _cleanup_(closedirp) DIR *dir = opendir(PROC);
        _cleanup_(freep) pid_t *list = NULL;
        const struct dirent *de;
        pid_t *more;
        size_t n = 0;

        if (!dir)
                return -xerrno();
        while ((de = readdir(dir))) {
                if (de->d_name[strspn(de->d_name, "0123456789")] != '\0')
                        continue;
                more = reallocarray(list, n + 1, sizeof(*list));
                if (!more)
                        return -ENOMEM;
                list = more;
                list[n++] = (pid_t) strtol(de->d_name, NULL, 10);
        }
        if (n > 0)
                qsort(list, n, sizeof(*list), compare_pids);
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

static void read_command(pid_t pid, char *buf, size_t size) {
        char path[64];
        FILE *f;

        (void) snprintf(path, sizeof(path), PROC "/%d/comm", (int) pid);
        buf[0] = '\0';
        f = fopen(path, "re");
        if (!f)
                return;
        if (!fgets(buf, (int) size, f))
                buf[0] = '\0';
        buf[strcspn(buf, "\n")] = '\0';
        (void) fclose(f);
}

static int add_sharer(Table *t, pid_t pid, const Mapping *window) {
        _cleanup_(freep) char *unit = NULL;
        char path[64], user[64], command[64];
        struct stat st;

        (void) snprintf(path, sizeof(path), PROC "/%d", (int) pid);
        /* It may have ended. */
        if (stat(path, &st) < 0)
                return 0;
        if (sd_pid_get_unit(pid, &unit) < 0)
                unit = NULL;
        read_command(pid, command, sizeof(command));
        if (table_add_string(t, format_uid(st.st_uid, user, sizeof(user))) < 0 ||
            table_add_number(t, st.st_uid, NULL) < 0 || table_add_number(t, (uint64_t) pid, NULL) < 0 ||
            table_add_string(t, unit) < 0 ||
            table_add_string(t, access_to_string(window->perms[1] == 'w' ? ACCESS_READ_WRITE : ACCESS_READ)) < 0 ||
            table_add_string(t, command) < 0)
                return -ENOMEM;
        return 0;
}

/* Increments *hidden if we may not read the process's mappings. */
static int look_at(pid_t pid, const Place *place, Table *t, size_t *hidden) {
        _cleanup_(mappings_done) Mappings m = {};
        size_t i;
        int r;

        r = process_read_mappings(PROC, pid, &m);
        if (r == -EACCES)
                (*hidden)++;
        for (i = 0; r >= 0 && i < m.n; i++)
                if (mapping_is_window(m.list + i, place->device, place->inode))
                        return add_sharer(t, pid, m.list + i);
        return r == -ENOMEM ? r : 0;
}

int sharers_print(const char *region, const Arguments *a) {
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_(freep) pid_t *pids = NULL;
        size_t n = 0, i, hidden = 0;
        Place place;
        int r;

        r = place_find(region, &place);
        if (r != STATUS_OK)
                return r;
        if (!place.mounted) {
                complain("Cannot list sharers: msharefs is not mounted on " MSHAREFS_PATH);
                return STATUS_UNSUPPORTED;
        }
        if (place.missing) {
                complain("Cannot list sharers: there is no region \"%s\"", region);
                return STATUS_NO_REGION;
        }

        r = table_new(columns, ELEMENTSOF(columns), &t);
        if (r >= 0)
                r = list_pids(&pids, &n);
        for (i = 0; r >= 0 && i < n; i++)
                r = look_at(pids[i], &place, t, &hidden);
        if (r < 0) {
                complain("Cannot list sharers: %s", strerror(-r));
                return STATUS_FAILED;
        }
        if (table_print(t, a, "sharer") < 0)
                return bus_out_of_memory();
        if (hidden > 0 && a->legend && a->json == JSON_OFF)
                (void) fprintf(stderr, "%zu processes of other users may share it as well; only root can see them.\n",
                               hidden);
        return STATUS_OK;
}
