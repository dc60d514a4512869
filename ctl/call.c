/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Calls without a time limit, during which the broker is pinged: see call.h. It knows no method but Ping, and prints nothing.
 */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "call.h"
#include "names.h"
#include "util.h"

/* The time between an answer to a ping and the next ping. */
#define PING_INTERVAL_USEC (5 * UINT64_C(1000000))

typedef struct Call {
        sd_bus *bus;
        sd_event *event;
        sd_event_source *timer;
        sd_bus_slot *ping;
        const CallWatch *watch;
        sd_bus_message *reply;
        sd_bus_error *error;
        int signal;
        bool done;
        int result;
} Call;

/* Not sd_event_exit(), which closes the bus as well. */
static int finish(Call *c, int result) {
        c->done = true;
        c->result = result;
        return 0;
}

static int on_pong(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        Call *c = userdata;
        int r;

        c->ping = sd_bus_slot_unref(c->ping);
        if (e && sd_bus_error_has_names(e, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT, SD_BUS_ERROR_SERVICE_UNKNOWN,
                                        SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
                r = sd_bus_error_copy(c->error, e);
                return finish(c, r < 0 ? r : -ETIMEDOUT);
        }
        /* Any other answer, even an error, shows that the broker works. */
        r = sd_event_source_set_time_relative(c->timer, PING_INTERVAL_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
        return r < 0 ? finish(c, r) : 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Call *c = userdata;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, BUS_NAME, BUS_PATH, "org.freedesktop.DBus.Peer", "Ping");
        if (r >= 0)
                r = sd_bus_call_async(c->bus, &c->ping, m, on_pong, c, 0);
        return r < 0 ? finish(c, r) : 0;
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Call *c = userdata;
        int r = 0;

        if (sd_bus_message_is_method_error(m, NULL)) {
                /* Drop the error of an earlier ping: it is not the answer. */
                sd_bus_error_free(c->error);
                r = -sd_bus_message_get_errno(m);
                if (sd_bus_error_copy(c->error, sd_bus_message_get_error(m)) == -ENOMEM)
                        r = -ENOMEM;
                if (r == 0)
                        r = -EIO;
        } else
                c->reply = sd_bus_message_ref(m);
        return finish(c, r);
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Call *c = userdata;
        int r;

        if (c->signal != 0)
                return finish(c, -ECANCELED);
        c->signal = (int) si->ssi_signo;
        r = c->watch->interrupt(c->bus, c->watch->userdata);
        return r < 0 ? finish(c, r) : 0;
}

static int add_signals(Call *c, sigset_t *ret_old) {
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &mask, ret_old);
        r = sd_event_add_signal(c->event, NULL, SIGINT, on_signal, c);
        return r < 0 ? r : sd_event_add_signal(c->event, NULL, SIGTERM, on_signal, c);
}

int call_and_wait(sd_bus *bus, sd_bus_message *m, const CallWatch *watch, int *ret_signal, sd_bus_error *error,
                  sd_bus_message **reply) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_event_source_unrefp) sd_event_source *timer = NULL;
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        Call c = { .bus = bus, .watch = watch, .error = error };
        sigset_t old;
        int r;

        (void) sigprocmask(SIG_SETMASK, NULL, &old);
        r = sd_event_new(&event);
        if (r < 0)
                return r;
        c.event = event;
        r = sd_event_add_time_relative(event, &timer, CLOCK_MONOTONIC, PING_INTERVAL_USEC, 0, on_timer, &c);
        if (r >= 0 && watch)
                r = add_signals(&c, &old);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, 0);
        if (r >= 0) {
                c.timer = timer;
                r = sd_bus_call_async(bus, &slot, m, on_reply, &c, UINT64_MAX);
        }
        while (r >= 0 && !c.done)
                r = sd_event_run(event, UINT64_MAX);
        if (c.done)
                r = c.result;

        c.ping = sd_bus_slot_unref(c.ping);
        (void) sd_bus_detach_event(bus);
        if (watch) {
                (void) sigprocmask(SIG_SETMASK, &old, NULL);
                *ret_signal = c.signal;
        }
        if (r >= 0 && !c.reply)
                r = -ECONNRESET;
        if (r >= 0 && reply)
                *reply = TAKE_PTR(c.reply);
        sd_bus_message_unref(c.reply);
        return r;
}
