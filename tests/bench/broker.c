/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * broker latency REGION ROUNDS
 * broker herd REGION COUNT
 *
 * latency: how long a call takes on one connection. Compares Ping, which the broker's bus library answers by itself,
 * with AcquireRegion, whose lease is closed each time. herd: COUNT processes acquire at once, each on a connection of
 * its own, then all of them leave. The stock bus allows each user 256 connections, so the herd runs as several users,
 * from 20000 on. They must exist, and the region must admit them.
 */
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "bench.h"

#define PER_USER 200
#define FIRST_USER 20000
#define LIMIT_USEC (300 * UINT64_C(1000000))

static int by_value(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

static sd_bus *open_bus(void) {
        sd_bus *bus = NULL;
        int r = sd_bus_open_system(&bus);

        if (r < 0)
                errx(1, "cannot connect to the bus: %s", strerror(-r));
        (void) sd_bus_set_method_call_timeout(bus, LIMIT_USEC);
        return bus;
}

static void ping(sd_bus *bus) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (sd_bus_call_method(bus, "org.mshare1", "/org/mshare1", "org.freedesktop.DBus.Peer", "Ping", &error, NULL,
                               NULL) < 0)
                errx(1, "Ping: %s", error.message);
}

/* Returns the lease; the caller closes it. */
static int acquire(sd_bus *bus, const char *region) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        uint64_t address, length;
        int fd;

        if (sd_bus_call_method(bus, "org.mshare1", "/org/mshare1", "org.mshare1.Manager", "AcquireRegion", &error,
                               &reply, "ssa{sv}", region, "rw", 0) < 0)
                errx(1, "AcquireRegion: %s", error.message);
        if (sd_bus_message_read(reply, "tth", &address, &length, &fd) < 0)
                errx(1, "AcquireRegion has sent an invalid answer");
        fd = dup(fd);
        if (fd < 0)
                err(1, "dup");
        (void) sd_bus_message_unref(reply);
        return fd;
}

static void latency(const char *region, size_t rounds) {
        static const char *const calls[] = { "ping", "acquire" };
        uint64_t *t = calloc(rounds, sizeof(*t));
        sd_bus *bus = open_bus();

        if (!t || rounds == 0)
                errx(1, "%zu rounds", rounds);
        for (size_t c = 0; c < 2; c++) {
                for (size_t i = 0; i < rounds; i++) {
                        t[i] = now_nsec();
                        if (c == 0)
                                ping(bus);
                        else
                                (void) close(acquire(bus, region));
                        t[i] = now_nsec() - t[i];
                }
                qsort(t, rounds, sizeof(*t), by_value);
                printf("call=%s rounds=%zu median_nsec=%llu p99_nsec=%llu\n", calls[c], rounds,
                       (unsigned long long) t[rounds / 2], (unsigned long long) t[rounds * 99 / 100]);
        }
        free(t);
        (void) sd_bus_flush_close_unref(bus);
}

static unsigned int clients(sd_bus *bus) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        unsigned int n;

        if (sd_bus_get_property_trivial(bus, "org.mshare1", "/org/mshare1", "org.mshare1.Manager", "NClients", &error,
                                        'u', &n) < 0)
                errx(1, "NClients: %s", error.message);
        return n;
}

/* Each process opens its connection first, so that only the calls happen at once. */
static void member(const char *region, size_t number, int go, int done) {
        uid_t uid = (uid_t) (FIRST_USER + number / PER_USER);
        struct pollfd gate = { .fd = go, .events = POLLIN };
        sd_bus *bus;
        char c = 0;

        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                err(1, "setresuid");
        bus = open_bus();
        ping(bus);
        if (write(done, &c, 1) != 1)
                _exit(1);
        (void) poll(&gate, 1, -1);
        (void) acquire(bus, region);
        if (write(done, &c, 1) != 1)
                _exit(1);
        for (;;)
                pause();
}

static void herd(const char *region, size_t count) {
        sd_bus *bus = open_bus();
        pid_t *pids = calloc(count, sizeof(*pids));
        int go[2], done[2];
        uint64_t start;
        char c;

        if (!pids || pipe(go) < 0 || pipe(done) < 0)
                err(1, "pipe");
        /* The bus drops a connection that has not said hello within a few seconds. */
        ping(bus);
        for (size_t i = 0; i < count; i++) {
                pids[i] = fork();
                if (pids[i] < 0)
                        err(1, "fork");
                if (pids[i] == 0)
                        member(region, i, go[0], done[1]);
                if (read(done[0], &c, 1) != 1)
                        errx(1, "member %zu did not start", i);
        }
        start = now_nsec();
        if (write(go[1], "", 1) != 1)
                err(1, "write");
        for (size_t i = 0; i < count; i++)
                if (read(done[0], &c, 1) != 1)
                        errx(1, "a member is missing");
        start = now_nsec() - start;
        if (clients(bus) != count)
                errx(1, "the broker counts %u clients, not %zu", clients(bus), count);
        printf("call=herd count=%zu all_nsec=%llu each_nsec=%llu\n", count, (unsigned long long) start,
               (unsigned long long) (start / count));
        fflush(stdout);

        start = now_nsec();
        for (size_t i = 0; i < count; i++)
                (void) kill(pids[i], SIGKILL);
        while (wait(NULL) > 0)
                ;
        while (clients(bus) > 0)
                if (now_nsec() - start > LIMIT_USEC * 1000)
                        errx(1, "the broker keeps %u clients", clients(bus));
        start = now_nsec() - start;
        printf("call=leave count=%zu all_nsec=%llu each_nsec=%llu\n", count, (unsigned long long) start,
               (unsigned long long) (start / count));
        (void) sd_bus_flush_close_unref(bus);
        free(pids);
}

int main(int argc, char *argv[]) {
        if (argc == 4 && strcmp(argv[1], "latency") == 0)
                latency(argv[2], strtoul(argv[3], NULL, 10));
        else if (argc == 4 && strcmp(argv[1], "herd") == 0)
                herd(argv[2], strtoul(argv[3], NULL, 10));
        else
                errx(2, "usage: broker latency|herd REGION NUMBER");
        return 0;
}
