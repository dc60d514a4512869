/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Waits for a region to be created: shows progress, and cancels the creation when the user interrupts the command. The caller
 * has built the call.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent.h"
#include "bus.h"
#include "call.h"
#include "creation.h"
#include "format.h"
#include "kinds.h"
#include "util.h"

#define INTERRUPT_USEC (5 * UINT64_C(1000000))

static uint64_t usec_now(clockid_t clock) {
        struct timespec ts;

        (void) clock_gettime(clock, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static void show(Creation *c, double progress) {
        uint64_t now = usec_now(CLOCK_MONOTONIC);
        double rate = 0;
        char buf[128];

        if (c->first_usec == 0) {
                c->first_usec = now;
                c->first = progress;
        } else if (now > c->first_usec)
                rate = (progress - c->first) * (double) c->size / ((double) (now - c->first_usec) / 1e6);
        (void) fprintf(stderr, "\r%s\x1b[K", format_progress(progress, c->size, rate, buf, sizeof(buf)));
        (void) fflush(stderr);
        c->shown = true;
}

static int on_progress(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Creation *c = userdata;
        double progress;

        c->question = sd_bus_slot_unref(c->question);
        if (!c->cancelled && sd_bus_message_read(m, "v", "d", &progress) >= 0)
                show(c, progress);
        return 0;
}

/* Every user of the bus can send such a signal with the broker's name. So ask the broker, one question at a time. */
static int on_properties(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Creation *c = userdata;

        if (!c->cancelled && !c->question)
                (void) sd_bus_call_method_async(sd_bus_message_get_bus(m), &c->question, BUS_NAME,
                                                sd_bus_message_get_path(m), "org.freedesktop.DBus.Properties", "Get",
                                                on_progress, c, "ss", BUS_REGION_INTERFACE, "Progress");
        return 0;
}

static int remove_region(sd_bus *bus, const char *name, sd_bus_error *error) {
        return sd_bus_call_method(bus, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, "RemoveRegion", error, NULL, "sa{sv}",
                                  name, 0);
}

/*
 * Removing a region that is being created cancels the creation, and the call then ends with an error. But the name may belong
 * to another region: one that was ready while polkit still asked for a password, or one that another caller is creating. So
 * remove the region only if it is being created, and only if its creation began after this call.
 */
static int on_interrupt(sd_bus *bus, void *userdata) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(freep) char *path = NULL, *state = NULL;
        Creation *c = userdata;
        uint64_t created = 0;
        int r;

        if (sd_bus_path_encode(BUS_REGION_PATH, c->name, &path) < 0)
                return -ECANCELED;
        /* If the broker hangs, do not wait longer than this. */
        (void) sd_bus_set_method_call_timeout(bus, INTERRUPT_USEC);
        r = sd_bus_get_property_string(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "State", NULL, &state);
        (void) sd_bus_set_method_call_timeout(bus, 0);
        if (r < 0 || sd_bus_get_property_trivial(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "CreatedUSec", NULL, 't',
                                                 &created) < 0)
                return -ECANCELED;
        /* The region is ready, so the answer will arrive soon. */
        if (!streq(state, STATE_CREATING))
                return created >= c->began_usec ? 0 : -ECANCELED;
        if (created < c->began_usec || remove_region(bus, c->name, &error) < 0)
                return -ECANCELED;
        c->cancelled = true;
        return 0;
}

int creation_run(Creation *c, sd_bus *bus, sd_bus_message *m, const Arguments *a, const char *what, int *ret_signal,
                 sd_bus_message **reply) {
        const CallWatch watch = { .interrupt = on_interrupt, .userdata = c };
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL, ignored = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        _cleanup_(agent_close) Agent agent = AGENT_NONE;
        _cleanup_(freep) char *path = NULL;
        int r;

        c->began_usec = usec_now(CLOCK_REALTIME);
        agent_open(&agent, a->ask_password);
        r = sd_bus_message_set_allow_interactive_authorization(m, a->ask_password);
        if (r >= 0 && c->show)
                r = sd_bus_path_encode(BUS_REGION_PATH, c->name, &path);
        if (r >= 0 && c->show)
                r = sd_bus_match_signal(bus, &slot, BUS_NAME, path, "org.freedesktop.DBus.Properties",
                                        "PropertiesChanged", on_properties, c);
        if (r < 0)
                return bus_message_failed(what, r);

        *ret_signal = 0;
        r = call_and_wait(bus, m, &watch, ret_signal, &error, reply);
        c->question = sd_bus_slot_unref(c->question);
        if (c->shown)
                (void) fputs("\r\x1b[K", stderr);
        if (*ret_signal != 0) {
                /* The region was created before it could be cancelled, but no client has used it yet. */
                if (r >= 0 && remove_region(bus, c->name, &ignored) < 0) {
                        complain("Region '%s' was created before it could be cancelled, and cannot be removed: %s",
                                 c->name, ignored.message ?: "unknown error");
                        return STATUS_FAILED;
                }
                /* The broker has not answered: it hangs or waits for a password. */
                if (r == -ECANCELED && !sd_bus_error_is_set(&error)) {
                        complain("Interrupted while waiting for the broker's answer");
                        return STATUS_FAILED;
                }
                complain("Cancelled; region '%s' was not created", c->name);
                return STATUS_FAILED;
        }
        return r < 0 ? bus_call_failed(what, &error, r) : STATUS_OK;
}
