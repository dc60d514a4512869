/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finds the main process of a unit. It asks the system's service manager, not the broker. */

#include <stdio.h>
#include <string.h>

#include "unit.h"
#include "util.h"

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_PATH "/org/freedesktop/systemd1"
#define CGROUPS "/sys/fs/cgroup"

static const char *const suffixes[] = { ".service", ".scope", ".slice", ".socket", ".mount", ".swap" };

static int failed(const char *name, const sd_bus_error *error, int r) {
        complain("Cannot find the process of unit %s: %s", name, error->message ?: strerror(-r));
        return STATUS_FAILED;
}

static bool has_suffix(const char *name) {
        const char *dot = strrchr(name, '.');
        size_t i;

        for (i = 0; dot && i < ELEMENTSOF(suffixes); i++)
                if (streq(dot, suffixes[i]))
                        return true;
        return false;
}

static int first_of_cgroup(const char *cgroup, pid_t *ret) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(fclosep) FILE *f = NULL;
        int pid;

        if (asprintf(&path, CGROUPS "%s/cgroup.procs", cgroup) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        f = fopen(path, "re");
        while (f && fscanf(f, "%d", &pid) == 1)
                if (pid > 0 && pid != getpid()) {
                        *ret = pid;
                        return 0;
                }
        return -ESRCH;
}

int unit_find_process(sd_bus *bus, const char *name, pid_t *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(freep) char *full = NULL, *state = NULL, *cgroup = NULL;
        const char *path, *type;
        char interface[64];
        uint32_t pid = 0;
        int r;

        if (asprintf(&full, "%s%s", name, has_suffix(name) ? "" : ".service") < 0) {
                full = NULL;
                complain("Out of memory");
                return STATUS_FAILED;
        }
        r = sd_bus_call_method(bus, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_NAME ".Manager", "LoadUnit", &error, &reply,
                               "s", full);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r >= 0)
                r = sd_bus_get_property_string(bus, SYSTEMD_NAME, path, SYSTEMD_NAME ".Unit", "LoadState", &error,
                                               &state);
        if (r < 0)
                return failed(full, &error, r);
        if (!streq(state, "loaded")) {
                if (streq(state, "not-found"))
                        complain("There is no unit %s", full);
                else
                        complain("Unit %s is not loaded: its load state is '%s'", full, state);
                return STATUS_FAILED;
        }

        type = strrchr(full, '.') + 1;
        (void) snprintf(interface, sizeof(interface), SYSTEMD_NAME ".%c%s", type[0] - 'a' + 'A', type + 1);
        /* Some types of units have no main process, and so not this property. Units without processes have no control group. */
        (void) sd_bus_get_property_trivial(bus, SYSTEMD_NAME, path, interface, "MainPID", NULL, 'u', &pid);
        if (pid > 0) {
                *ret = (pid_t) pid;
                return STATUS_OK;
        }
        (void) sd_bus_get_property_string(bus, SYSTEMD_NAME, path, interface, "ControlGroup", NULL, &cgroup);
        r = cgroup && cgroup[0] ? first_of_cgroup(cgroup, ret) : -ESRCH;
        if (r < 0) {
                complain("Unit %s has no processes", full);
                return STATUS_FAILED;
        }
        return STATUS_OK;
}
