/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command monitor: prints the broker's signals as they arrive, and goes on when the broker restarts. It changes
 * nothing.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "bus.h"
#include "format.h"
#include "util.h"
#include "verbs.h"

static bool wanted(const Arguments *a, const char *name) {
        int i;

        for (i = 0; i < a->n_names; i++)
                if (streq(a->names[i], name))
                        return true;
        return a->n_names == 0;
}

/* Print one line and flush it, because the output may be a pipe. region may be NULL, and uid UINT32_MAX, to leave them out. */
static void print_event(const Arguments *a, const char *event, const char *region, uint32_t uid) {
        _cleanup_(freep) char *region_json = NULL, *event_json = NULL, *region_text = NULL;
        char number[32], usec[32], when[64], user[64];
        JsonMember members[4];
        struct timespec now;
        struct tm tm;
        size_t n = 0;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        (void) snprintf(number, sizeof(number), "%" PRIu32, uid);

        if (a->json != JSON_OFF) {
                (void) snprintf(usec, sizeof(usec), "%" PRIi64, (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000);
                event_json = json_string(event);
                region_json = region ? json_string(region) : NULL;
                members[n++] = (JsonMember){ "usec", usec };
                members[n++] = (JsonMember){ "event", event_json ?: "null" };
                if (region)
                        members[n++] = (JsonMember){ "region", region_json ?: "null" };
                if (uid != UINT32_MAX)
                        members[n++] = (JsonMember){ "uid", number };
                json_print_object(stdout, a->json, 0, members, n);
        } else {
                if (!localtime_r(&now.tv_sec, &tm) || strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm) == 0)
                        strcpy(when, "-");
                region_text = region ? format_printable(region) : NULL;
                (void) printf("%s.%06ld %s", when, now.tv_nsec / 1000, event);
                if (region)
                        (void) printf(" %s", region_text ?: "");
                if (uid != UINT32_MAX)
                        (void) printf(" %s", format_uid(uid, user, sizeof(user)));
        }
        (void) putchar('\n');
        (void) fflush(stdout);
}

/* Every user of the bus can send this command signals with the broker's names, so the senders are checked. */
typedef struct Monitor {
        const Arguments *a;
        char *broker; /* its unique name, or NULL */
} Monitor;

static void monitor_done(Monitor *monitor) {
        free(monitor->broker);
}

static bool is_from(sd_bus_message *m, const char *name) {
        const char *sender = sd_bus_message_get_sender(m);

        return sender && name && streq(sender, name);
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Monitor *monitor = userdata;
        const Arguments *a = monitor->a;
        const char *member = sd_bus_message_get_member(m), *name, *object;
        uint32_t uid;

        if (!is_from(m, monitor->broker))
                return 0;

        if (sd_bus_message_has_signature(m, "so")) {
                if (sd_bus_message_read(m, "so", &name, &object) >= 0 && wanted(a, name))
                        print_event(a, member, name, UINT32_MAX);
        } else if (sd_bus_message_has_signature(m, "su"))
                if (sd_bus_message_read(m, "su", &name, &uid) >= 0 && wanted(a, name))
                        print_event(a, member, name, uid);
        return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *old, *new;
        Monitor *monitor = userdata;

        if (!is_from(m, "org.freedesktop.DBus") || sd_bus_message_read(m, "sss", &name, &old, &new) < 0)
                return 0;
        free(monitor->broker);
        monitor->broker = new[0] ? strdup(new) : NULL;
        print_event(monitor->a, new[0] ? "BrokerStarted" : "BrokerStopped", NULL, UINT32_MAX);
        return 0;
}

/* If the broker does not run yet, the bus will announce its start. */
static int find_broker(sd_bus *bus, Monitor *monitor) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *name;
        int r;

        if (sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                               "GetNameOwner", NULL, &reply, "s", BUS_NAME) < 0)
                return 0;
        r = sd_bus_message_read(reply, "s", &name);
        if (r < 0)
                return r;
        monitor->broker = strdup(name);
        return monitor->broker ? 0 : -ENOMEM;
}

int verb_monitor(const Arguments *a) {
        _cleanup_(monitor_done) Monitor monitor = { .a = a };
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        sigset_t mask;
        int r;

        r = bus_connect(a, &bus);
        if (r != STATUS_OK)
                return r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);

        r = sd_event_new(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_bus_set_exit_on_disconnect(bus, true);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, 0);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, NULL, on_signal,
                                        &monitor);
        if (r >= 0)
                r = sd_bus_add_match(bus, NULL,
                                     "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',"
                                     "interface='org.freedesktop.DBus',arg0='" BUS_NAME "'",
                                     on_owner_changed, &monitor);
        if (r >= 0)
                r = find_broker(bus, &monitor);
        if (r < 0) {
                complain("Cannot monitor regions: %s", strerror(-r));
                return STATUS_FAILED;
        }

        if (a->legend && a->json == JSON_OFF)
                (void) fprintf(stderr, "Monitoring regions; press Ctrl-C to stop.\n");

        /* A signal without a handler ends the loop with success; the loss of the bus ends it with failure. */
        r = sd_event_loop(event);
        if (r != 0) {
                complain("The connection to the system bus was lost");
                return STATUS_NO_BROKER;
        }
        return STATUS_OK;
}
