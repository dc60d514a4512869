/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <sys/wait.h>

#include "bus-helpers.h"
#include "util.h"

#define BROKER "org.mshare1", "/org/mshare1", "org.mshare1.Manager"

static sd_bus *connect_bus(void) {
        sd_bus *bus = NULL;

        g_assert_cmpint(sd_bus_open_system(&bus), >=, 0);
        return bus;
}

void make_region(const char *name, uint64_t size, const char *option, const char *value) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = connect_bus();
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        if (option)
                r = sd_bus_call_method(bus, BROKER, "CreateRegion", &error, NULL, "stua{sv}", name, size, 0600, 1,
                                       option, "s", value);
        else
                r = sd_bus_call_method(bus, BROKER, "CreateRegion", &error, NULL, "stua{sv}", name, size, 0600, 0);
        if (r < 0)
                g_error("CreateRegion %s: %s", name, error.message);
}

void drop_region(const char *name) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = connect_bus();
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        if (sd_bus_call_method(bus, BROKER, "RemoveRegion", &error, NULL, "sa{sv}", name, 1, "force", "b", 1) < 0)
                g_error("RemoveRegion %s: %s", name, error.message);
}

static unsigned int ask_clients(const char *name) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = connect_bus();
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        unsigned int n = 0;

        g_assert_cmpint(sd_bus_call_method(bus, BROKER, "ListClients", NULL, &reply, "s", name), >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(uusst)"), >=, 0);
        while (sd_bus_message_skip(reply, "(uusst)") > 0 && n < 1000)
                n++;
        return n;
}

void assert_clients(const char *name, unsigned int wanted) {
        unsigned int i, n = 0;

        for (i = 0; i < 200; i++) {
                n = ask_clients(name);
                if (n == wanted)
                        return;
                g_usleep(10000);
        }
        g_assert_cmpuint(n, ==, wanted);
}

unsigned int count_fds(void) {
        unsigned int n = 0;
        DIR *d;

        d = opendir("/proc/self/fd");
        g_assert_nonnull(d);
        while (readdir(d))
                n++;
        g_assert_cmpint(closedir(d), ==, 0);
        return n;
}

int wait_child(pid_t pid) {
        int status;

        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
