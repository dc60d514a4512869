/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The program: reads the command line, sets up signals, and starts and stops the parts in order. README.md shows how they fit
 * together. It knows neither messages nor regions.
 */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "bus/connect.h"
#include "core/announce.h"
#include "core/manager-follow.h"
#include "core/manager-load.h"
#include "core/manager.h"
#include "kernel/donor-child.h"

/* Five seconds in all. */
#define NAME_TRIES 50
#define NAME_PAUSE_USEC 100000

static int on_sighup(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        Manager *m = userdata;

        int r;

        (void) sd_notify(false, "RELOADING=1");
        r = manager_load_config(m);
        if (r >= 0)
                manager_mark(m, MANAGER_DIRTY_LIMITS);
        else
                log_message(&m->log, LOG_ERR, "Cannot reload the configuration, keeping the old one: %s", strerror(-r));
        (void) sd_notify(false, "READY=1");
        return 0;
}

/* One descriptor for each lease. */
static void raise_nofile(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

static int setup_events(Manager *m) {
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGHUP);
        (void) sigaddset(&mask, SIGCHLD);
        r = sigprocmask(SIG_BLOCK, &mask, NULL) < 0 ? -errno : 0;
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(m->event, NULL, SIGHUP, on_sighup, m);
        if (r >= 0)
                r = sd_event_set_watchdog(m->event, true);
        if (r < 0)
                log_message(&m->log, LOG_ERR, "Cannot wait for signals and the watchdog: %s", strerror(-r));
        return r < 0 ? r : 0;
}

/* If the last broker was killed, it has the name until the bus notices, which may take a moment on a busy machine. */
static int take_name(Manager *m) {
        for (unsigned i = 0;; i++) {
                int r = sd_bus_request_name(m->bus, BUS_NAME, 0);

                if (r != -EEXIST || i == NAME_TRIES)
                        return r;
                (void) usleep(NAME_PAUSE_USEC);
        }
}

static int run(void) {
        /* The face is freed after the manager. */
        _cleanup_(face_freep) Face *face = NULL;
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        raise_nofile();
        r = manager_new(&m);
        if (r >= 0)
                r = setup_events(m);
        if (r >= 0)
                r = manager_connect(m, &face);
        if (r >= 0)
                r = manager_load(m);
        if (r >= 0)
                r = manager_watch_kernel(m);
        /* The function that failed has logged the reason. */
        if (r < 0)
                return r;
        /* Take the name last: a client that sees it must find all objects. */
        r = take_name(m);
        if (r < 0) {
                log_message(&m->log, LOG_ERR, "Cannot acquire the bus name " BUS_NAME ": %s", strerror(-r));
                return r;
        }
        manager_tell_status(m, true);
        log_message(&m->log, LOG_INFO, "mshared " MSHARE_VERSION " is up; regions: %u, clients: %u", m->n_regions,
                    m->n_leases);
        r = sd_event_loop(m->event);
        (void) sd_notify(false, "STOPPING=1");
        if (r < 0)
                log_message(&m->log, LOG_ERR, "The event loop failed: %s", strerror(-r));
        manager_end_donors(m);
        if (r >= 0)
                manager_flush(m);
        return r;
}

static int help(void) {
        (void) printf("mshared [OPTION...]\n\n"
                      "The broker of shared page-table regions, org.mshare1 on the system bus.\n\n"
                      "  -h --help                  Show this text\n"
                      "     --version               Show the version\n\n"
                      "See mshared(8).\n");
        return EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        enum { ARG_VERSION = 256 };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                {},
        };
        int c, r;

        if (argc > 1 && streq(argv[1], "--donor"))
                return donor_main(kernel_ops(), argc - 2, argv + 2);
        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        return help();
                case ARG_VERSION:
                        (void) printf("mshared " MSHARE_VERSION "\n");
                        return EXIT_SUCCESS;
                default:
                        return 2;
                }
        if (optind < argc) {
                (void) fprintf(stderr, "Unexpected argument '%s': mshared takes none.\n", argv[optind]);
                return 2;
        }
        r = run();
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
