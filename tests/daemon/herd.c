/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "basic/util.h"

/*
 * herd REGION N: N processes become clients at once. Half of them inherit their parent's lease by fork. The others call
 * the broker themselves, and try again if the bus (not the broker) refuses them. Prints one line of JSON when all have
 * their lease, and holds the leases until the end of standard input.
 */
typedef struct Score {
        atomic_uint ready, leased, refused_by_bus, limits, failed;
        char error[256];
} Score;

static int acquire(sd_bus *bus, const char *region, int *ret_fd, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint64_t address, length;
        int fd, r;

        r = sd_bus_call_method(bus, "org.mshare1", "/org/mshare1", "org.mshare1.Manager", "AcquireRegion", error,
                               &reply, "ssa{sv}", region, "rw", 0);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "tth", &address, &length, &fd);
        if (r < 0)
                return r;
        *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return *ret_fd < 0 ? -errno : 0;
}

static void member(Score *score, const char *region, int gate) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        char c;
        int fd;

        atomic_fetch_add(&score->ready, 1);
        /* The gate opens for all at once when the end of the pipe is closed. */
        (void) !read(gate, &c, 1);
        for (;;) {
                _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
                const char *name;
                int r;

                sd_bus_error_free(&error);
                r = sd_bus_open_system(&bus);
                /* The bus says hello, or refuses the 257th connection of a user. */
                if (r < 0 || sd_bus_get_unique_name(bus, &name) < 0) {
                        atomic_fetch_add(&score->refused_by_bus, 1);
                        (void) usleep(20000);
                        continue;
                }
                r = acquire(bus, region, &fd, &error);
                if (r >= 0)
                        break;
                if (sd_bus_error_is_set(&error) &&
                    sd_bus_error_has_names(&error, SD_BUS_ERROR_LIMITS_EXCEEDED, "org.mshare1.Error.LimitExceeded")) {
                        atomic_fetch_add(&score->limits, 1);
                        (void) snprintf(score->error, sizeof(score->error), "%s", error.message);
                        return;
                }
                atomic_fetch_add(&score->failed, 1);
                (void) snprintf(score->error, sizeof(score->error), "%s", error.message ?: strerror(-r));
                return;
        }
        atomic_fetch_add(&score->leased, 1);
}

int main(int argc, char **argv) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        unsigned n = argc == 3 ? (unsigned) atoi(argv[2]) : 0, asking = n / 2;
        int gate[2], fd, r;
        uint64_t began;
        sd_bus *bus;
        Score *score;
        pid_t group;
        char c;

        if (n < 2 || pipe(gate) < 0)
                return 2;
        score = mmap(NULL, sizeof(*score), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (score == MAP_FAILED)
                return 2;
        (void) setpgid(0, 0);
        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = acquire(bus, argv[1], &fd, &error);
        if (r < 0) {
                (void) fprintf(stderr, "%s\n", error.message ?: strerror(-r));
                return 1;
        }
        sd_bus_flush_close_unref(bus);
        for (unsigned i = 0; i < n; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        return 2;
                if (pid > 0)
                        continue;
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) close(gate[1]);
                (void) close(0);
                if (i < asking) {
                        (void) close(fd);
                        member(score, argv[1], gate[0]);
                } else {
                        atomic_fetch_add(&score->ready, 1);
                        atomic_fetch_add(&score->leased, 1);
                }
                for (;;)
                        (void) pause();
        }
        (void) close(fd);
        while (atomic_load(&score->ready) < n)
                (void) usleep(1000);
        began = usec_now(CLOCK_MONOTONIC);
        (void) close(gate[1]);
        while (atomic_load(&score->leased) + atomic_load(&score->limits) + atomic_load(&score->failed) < n)
                (void) usleep(1000);
        (void) printf(
                "{\"leased\": %u, \"limits\": %u, \"failed\": %u, \"refused_by_bus\": %u, \"ms\": %u, \"error\": \"%s\"}\n",
                atomic_load(&score->leased), atomic_load(&score->limits), atomic_load(&score->failed),
                atomic_load(&score->refused_by_bus), (unsigned) ((usec_now(CLOCK_MONOTONIC) - began) / 1000),
                score->error);
        (void) fflush(stdout);
        (void) !read(0, &c, 1);
        group = getpgrp();
        (void) signal(SIGTERM, SIG_IGN);
        (void) kill(-group, SIGKILL);
        return 0;
}
