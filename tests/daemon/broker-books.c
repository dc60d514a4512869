/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>

#include "basic/util.h"

#define MSHAREFS "/sys/fs/mshare"
#define LEASES "/run/mshared/leases"
#define STATES "/run/mshared/regions"

/* How long the broker may take to return and to learn of everything. */
#define PATIENCE_USEC (60 * USEC_PER_SEC)
#define INTERVAL_USEC (20 * USEC_PER_MSEC)

/*
 * broker-books: for each line "REGION N" on standard input, whether the records of the broker and of the kernel agree:
 * the region has N clients and N sharers, there are N leases in all, and the broker, its state files and the kernel
 * know the same regions. Prints "agree" as soon as they do, or "differ" and the values of each. With "REGION -" the
 * region and all leases must be gone. It must run as root.
 */
typedef struct Books {
        int error; /* of the call to the broker */
        uint32_t n_clients; /* NClients */
        uint32_t n_listed; /* entries of ListClients */
        uint64_t n_sharers; /* NSharers */
        uint64_t kernel_sharers; /* of the kernel itself */
        unsigned n_leases; /* FIFOs */
        unsigned n_regions, n_files, n_states; /* of ListRegions, msharefs and state files */
        bool exists;
} Books;

static unsigned count_files(const char *path, mode_t type) {
        _cleanup_(closedirp) DIR *dir = opendir(path);
        struct dirent *de;
        unsigned n = 0;
        struct stat st;

        while (dir && (de = readdir(dir)))
                n += fstatat(dirfd(dir), de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == type;
        return n;
}

static uint64_t kernel_sharers(const char *region, bool *ret_exists) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(closep) int fd = -1;
        uint64_t n = UINT64_MAX;
        char path[300];
        const char *p;

        (void) snprintf(path, sizeof(path), MSHAREFS "/%s", region);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        *ret_exists = fd >= 0;
        if (fd < 0)
                return 0;
        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        if (read_file(AT_FDCWD, path, 4096, &text, NULL) >= 0) {
                p = strstr(text, "mshare-sharers:");
                if (p)
                        (void) sscanf(p, "mshare-sharers: %" SCNu64, &n);
        }
        return n;
}

static int count_entries(sd_bus *bus, const char *method, const char *region, const char *element, uint32_t *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint32_t n = 0;
        int r;

        r = sd_bus_call_method(bus, "org.mshare1", "/org/mshare1", "org.mshare1.Manager", method, NULL, &reply,
                               region ? "s" : "", region);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', element);
        while (r > 0) {
                r = sd_bus_message_skip(reply, element);
                if (r > 0)
                        n++;
        }
        *ret = n;
        return r < 0 && r != -ENXIO ? r : 0;
}

static int read_properties(sd_bus *bus, const char *region, Books *books) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        char path[300];
        const char *key;
        int r;

        (void) snprintf(path, sizeof(path), "/org/mshare1/region/%s", region);
        r = sd_bus_call_method(bus, "org.mshare1", path, "org.freedesktop.DBus.Properties", "GetAll", NULL, &reply, "s",
                               "org.mshare1.Region");
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                r = sd_bus_message_read(reply, "s", &key);
                if (r >= 0 && streq(key, "NClients"))
                        r = sd_bus_message_read(reply, "v", "u", &books->n_clients);
                else if (r >= 0 && streq(key, "NSharers"))
                        r = sd_bus_message_read(reply, "v", "t", &books->n_sharers);
                else if (r >= 0)
                        r = sd_bus_message_skip(reply, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r;
}

static Books look(sd_bus *bus, const char *region, bool gone) {
        Books b = {};

        b.error = count_entries(bus, "ListRegions", NULL, "(sottuuuus)", &b.n_regions);
        if (b.error >= 0 && !gone)
                b.error = read_properties(bus, region, &b);
        if (b.error >= 0 && !gone)
                b.error = count_entries(bus, "ListClients", region, "(uusst)", &b.n_listed);
        b.kernel_sharers = kernel_sharers(region, &b.exists);
        b.n_leases = count_files(LEASES, S_IFIFO);
        b.n_files = count_files(MSHAREFS, S_IFREG);
        b.n_states = count_files(STATES, S_IFREG);
        return b;
}

static bool agree(const Books *b, uint32_t n, bool gone) {
        return b->error >= 0 && b->exists != gone && b->n_clients == n && b->n_listed == n && b->n_sharers == n &&
               b->kernel_sharers == n && b->n_leases == n && b->n_regions == b->n_files && b->n_states == b->n_files;
}

static void judge(sd_bus *bus, const char *region, uint32_t n, bool gone) {
        uint64_t end = usec_now(CLOCK_MONOTONIC) + PATIENCE_USEC;
        Books b = {};

        for (;;) {
                b = look(bus, region, gone);
                if (agree(&b, n, gone)) {
                        (void) printf("agree\n");
                        return;
                }
                if (usec_now(CLOCK_MONOTONIC) >= end)
                        break;
                (void) usleep(INTERVAL_USEC);
        }
        (void) printf("differ: expected %" PRIu32 "; broker: error '%s', clients %" PRIu32 ", listed %" PRIu32
                      ", sharers %" PRIu64 ", regions %u; kernel: sharers %" PRIu64 ", regions %u; files: leases %u, "
                      "states %u\n",
                      n, b.error < 0 ? strerror(-b.error) : "none", b.n_clients, b.n_listed, b.n_sharers, b.n_regions,
                      b.kernel_sharers, b.n_files, b.n_leases, b.n_states);
}

int main(void) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        char line[300], region[256], number[16];
        uint32_t n;

        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        if (sd_bus_open_system(&bus) < 0 || sd_bus_set_method_call_timeout(bus, PATIENCE_USEC) < 0) {
                (void) fprintf(stderr, "broker-books: no system bus\n");
                return 2;
        }
        while (fgets(line, sizeof(line), stdin)) {
                n = 0;
                if (sscanf(line, "%255s %15s", region, number) != 2 ||
                    (!streq(number, "-") && parse_u32(number, 10, &n) < 0))
                        return 2;
                judge(bus, region, n, streq(number, "-"));
        }
        return 0;
}
