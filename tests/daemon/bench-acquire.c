/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "basic/util.h"

/*
 * bench-acquire REGION N: N calls of AcquireRegion. After each comes a call of a method of the same form in a process
 * that only answers. Both use one connection and one bus, in one run. Prints one line of JSON, in microseconds.
 */
static int echo(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_reply_method_return(m, "tth", UINT64_C(1), UINT64_C(2), STDERR_FILENO);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Echo", "ssa{sv}", "tth", echo, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int serve(int ready) {
        sd_bus *bus;
        int r;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, "/echo", "org.mshare1.Echo", vtable, NULL);
        if (r >= 0)
                r = sd_bus_request_name(bus, "org.mshare1.Echo", 0);
        if (r < 0 || write(ready, "x", 1) != 1)
                return 1;
        for (;;) {
                r = sd_bus_process(bus, NULL);
                if (r < 0)
                        return 1;
                if (r == 0)
                        (void) sd_bus_wait(bus, UINT64_MAX);
        }
}

static int timed(sd_bus *bus, const char *name, const char *path, const char *interface, const char *member,
                 const char *region, uint64_t *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        struct timespec a, b;
        int r;

        (void) clock_gettime(CLOCK_MONOTONIC, &a);
        r = sd_bus_call_method(bus, name, path, interface, member, &error, &reply, "ssa{sv}", region, "r", 0);
        (void) clock_gettime(CLOCK_MONOTONIC, &b);
        if (r < 0) {
                (void) fprintf(stderr, "%s: %s\n", member, error.message ?: strerror(-r));
                return r;
        }
        *ret = (uint64_t) ((b.tv_sec - a.tv_sec) * INT64_C(1000000000) + b.tv_nsec - a.tv_nsec);
        return 0;
}

static int compare(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

int main(int argc, char **argv) {
        size_t n = argc == 3 ? (size_t) atoi(argv[2]) : 0;
        uint64_t *echoes, *acquires;
        int ready[2];
        sd_bus *bus;
        char c;

        if (n == 0 || pipe(ready) < 0)
                return 2;
        if (fork() == 0)
                return serve(ready[1]);
        if (read(ready[0], &c, 1) != 1 || sd_bus_open_system(&bus) < 0)
                return 1;
        echoes = calloc(n, sizeof(*echoes));
        acquires = calloc(n, sizeof(*acquires));
        if (!echoes || !acquires)
                return 1;
        for (size_t i = 0; i < n; i++)
                if (timed(bus, "org.mshare1", "/org/mshare1", "org.mshare1.Manager", "AcquireRegion", argv[1],
                          acquires + i) < 0 ||
                    timed(bus, "org.mshare1.Echo", "/echo", "org.mshare1.Echo", "Echo", argv[1], echoes + i) < 0)
                        return 1;
        qsort(echoes, n, sizeof(*echoes), compare);
        qsort(acquires, n, sizeof(*acquires), compare);
        (void) printf("{\"acquire_p50\": %.1f, \"acquire_p99\": %.1f, \"echo_p50\": %.1f, \"echo_p99\": %.1f}\n",
                      (double) acquires[n / 2] / 1e3, (double) acquires[n * 99 / 100] / 1e3,
                      (double) echoes[n / 2] / 1e3, (double) echoes[n * 99 / 100] / 1e3);
        sd_bus_flush_close_unref(bus);
        free(echoes);
        free(acquires);
        return 0;
}
