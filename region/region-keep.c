/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Waits as long as the region exists, and reports its figures to systemd. It follows signals of the bus, and continues if the
 * bus or the broker restarts. It must not create a region.
 */

#include <errno.h>
#include <inttypes.h>
#include <systemd/sd-daemon.h>

#include "errors.h"
#include "quantity.h"
#include "region-keep.h"

/* How often to try to connect again when the bus is gone. */
#define BUS_AGAIN_USEC (500 * USEC_PER_MSEC)
/*
 * There is no signal when the kernel's figures change. So the unit's status is up to this old, or twice that on an idle
 * machine.
 */
#define FIGURES_USEC (5 * USEC_PER_SEC)

/* The state of a unit that waits as long as its region exists. */
typedef struct Keeper {
        Start *s;
        const char *name;
        char *path;
        uint64_t created_usec; /* distinguishes it from a later region of that name */
        bool gone, disconnected, check;
        sd_event_source *timer;
        char *status; /* the last status that was sent to systemd */
} Keeper;

static void keeper_done(Keeper *k) {
        sd_event_source_disable_unref(k->timer);
        free(k->path);
        free(k->status);
}

typedef struct Figures {
        uint64_t size, resident, sharers, pgtables;
} Figures;

static int read_figures(sd_bus_message *m, Figures *ret) {
        const struct {
                const char *name;
                uint64_t *value;
        } wanted[] = {
                { "Size", &ret->size },
                { "ResidentBytes", &ret->resident },
                { "NSharers", &ret->sharers },
                { "PageTableBytes", &ret->pgtables },
        };
        size_t found = 0;
        const char *name;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                uint64_t *value = NULL;

                r = sd_bus_message_read(m, "s", &name);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < ELEMENTSOF(wanted) && !value; i++)
                        if (streq(wanted[i].name, name))
                                value = wanted[i].value;
                r = value ? sd_bus_message_read(m, "v", "t", value) : sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                found += value ? 1 : 0;
        }
        if (r < 0)
                return r;
        return found == ELEMENTSOF(wanted) ? 0 : -EBADMSG;
}

/* Sends the status to systemd if it has changed. Frees text, which may be NULL. */
static void tell_status(Keeper *k, char *text) {
        if (!text || (k->status && streq(k->status, text))) {
                free(text);
                return;
        }
        free(k->status);
        k->status = text;
        (void) sd_notifyf(false, "STATUS=%s", text);
}

static int on_figures(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        char size[32], resident[32], pgtables[32], saved[32], *text = NULL;
        Keeper *k = userdata;
        Figures f = {};

        if (sd_bus_message_is_method_error(m, NULL) || read_figures(m, &f) < 0) {
                /* If the region was removed, the unit ends. Otherwise the broker is not there, but the region exists. */
                if (asprintf(&text, "Region %s exists, but the broker does not answer", k->name) < 0)
                        text = NULL;
        } else if (asprintf(&text, "%s, %s resident, %" PRIu64 " sharer%s, page tables: %s held once, %s saved",
                            format_bytes(f.size, size, sizeof(size)),
                            format_bytes(f.resident, resident, sizeof(resident)), f.sharers, f.sharers == 1 ? "" : "s",
                            format_bytes(f.pgtables, pgtables, sizeof(pgtables)),
                            format_bytes(f.sharers > 0 ? (f.sharers - 1) * f.pgtables : 0, saved, sizeof(saved))) < 0)
                text = NULL;
        if (!k->gone)
                tell_status(k, text);
        else
                free(text);
        return 0;
}

/* Delays do no harm, and the broker is not started for this. What fails is tried again next time. */
static void ask_figures(Keeper *k) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (k->disconnected || !k->s->bus)
                return;
        r = sd_bus_message_new_method_call(k->s->bus, &m, BUS_NAME, k->path, "org.freedesktop.DBus.Properties",
                                           "GetAll");
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", BUS_REGION_INTERFACE);
        if (r >= 0)
                (void) sd_bus_call_async(k->s->bus, NULL, m, on_figures, k, 0);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        int r;

        ask_figures(userdata);
        r = sd_event_source_set_time_relative(source, FIGURES_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        ask_figures(userdata);
        return 0;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        ((Keeper *) userdata)->check = true;
        return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        Keeper *k = userdata;
        const char *name, *before, *now;

        if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0)
                return 0;
        if (*now)
                k->check = true;
        else
                ask_figures(k);
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        ((Keeper *) userdata)->disconnected = true;
        return 0;
}

static int subscribe(Keeper *k) {
        sd_bus *bus = k->s->bus;
        int r;

        r = client_watch_removal(bus, NULL, k->name, on_removed, k);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, BUS_NAME, k->path, "org.freedesktop.DBus.Properties",
                                        "PropertiesChanged", on_changed, k);
        if (r >= 0)
                r = sd_bus_add_match(bus, NULL,
                                     "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                     "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" BUS_NAME "'",
                                     on_owner_changed, k);
        if (r >= 0)
                r = sd_bus_add_match(bus, NULL,
                                     "type='signal',sender='org.freedesktop.DBus.Local',"
                                     "path='/org/freedesktop/DBus/Local',interface='org.freedesktop.DBus.Local',"
                                     "member='Disconnected'",
                                     on_disconnected, k);
        return r;
}

/*
 * Check whether the region still exists: the signal of its removal may be missed, and connections other than the broker's can
 * send one. If the broker cannot answer now, it will announce the removal later.
 */
static void check(Keeper *k) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t created = 0;
        int r;

        k->check = false;
        r = client_read_created(k->s->bus, k->name, &created, &error);
        if (r == 0 || (r > 0 && created != k->created_usec))
                k->gone = true;
}

static int reconnect(Keeper *k) {
        Start *s = k->s;
        int r;

        s->bus = sd_bus_close_unref(s->bus);
        r = sd_bus_open_system(&s->bus);
        if (r >= 0)
                r = sd_bus_attach_event(s->bus, s->event, 0);
        if (r >= 0)
                r = subscribe(k);
        if (r < 0) {
                s->bus = sd_bus_close_unref(s->bus);
                return r;
        }
        k->disconnected = false;
        k->check = true;
        return 0;
}

static int follow(Keeper *k) {
        int r;

        while (!k->gone && !k->s->stopped) {
                if (k->disconnected && reconnect(k) < 0) {
                        r = sd_event_run(k->s->event, BUS_AGAIN_USEC);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (k->check) {
                        check(k);
                        ask_figures(k);
                }
                if (k->gone || k->s->stopped)
                        break;
                r = sd_event_run(k->s->event, UINT64_MAX);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The unit is being stopped. Do not remove another region of that name. */
static int end(Keeper *k, sd_bus_error *error) {
        uint64_t created = 0;
        int r;

        if (k->disconnected) {
                r = reconnect(k);
                if (r < 0)
                        return r;
        }
        r = client_read_created(k->s->bus, k->name, &created, error);
        if (r > 0 && created != k->created_usec)
                return 0;
        if (r < 0)
                sd_bus_error_free(error);
        return client_remove_region(k->s->bus, k->name, error);
}

int start_keep(Start *s, const char *name, bool *ret_removed, sd_bus_error *error) {
        _cleanup_(keeper_done) Keeper k = { .s = s, .name = name };
        int r;

        *ret_removed = false;
        r = sd_bus_path_encode(BUS_REGION_PATH, name, &k.path);
        if (r >= 0)
                r = sd_event_add_time_relative(s->event, &k.timer, CLOCK_MONOTONIC, 0, FIGURES_USEC, on_time, &k);
        if (r >= 0)
                r = subscribe(&k);
        if (r >= 0)
                r = client_read_created(s->bus, name, &k.created_usec, error);
        if (r < 0)
                return r;
        k.gone = r == 0;
        (void) sd_notifyf(false, "READY=1\nSTATUS=Region %s exists", name);
        r = follow(&k);
        if (r < 0)
                return r;
        if (k.gone) {
                (void) fprintf(stderr, "Region %s has been removed, so its unit ends.\n", name);
                return 0;
        }
        (void) sd_notify(false, "STOPPING=1");
        *ret_removed = true;
        return end(&k, error);
}
