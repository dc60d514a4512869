/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Keeps mshare-region@.service running as long as its region exists. */

#include <errno.h>
#include <systemd/sd-daemon.h>

#include "errors.h"
#include "unit/region-client.h"

/* How often a bus that has gone is tried again. */
#define BUS_AGAIN_USEC (500 * USEC_PER_MSEC)

/* The state of a unit that waits as long as its region exists. */
typedef struct Keeper {
        Start *s;
        const char *name;
        uint64_t created_usec; /* to tell it from a later one of that name */
        bool gone, disconnected, check;
} Keeper;

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        ((Keeper *) userdata)->gone = true;
        return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        Keeper *k = userdata;
        const char *name, *before, *now;

        if (sd_bus_message_read(m, "sss", &name, &before, &now) >= 0 && *now)
                k->check = true;
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        ((Keeper *) userdata)->disconnected = true;
        return 0;
}

static int subscribe(Keeper *k) {
        _cleanup_(freep) char *match = NULL;
        sd_bus *bus = k->s->bus;
        int r;

        /* The name has no quotes, by the rule for names. */
        if (asprintf(&match,
                     "type='signal',sender='" BUS_NAME "',path='" BUS_PATH "',interface='" BUS_MANAGER_INTERFACE
                     "',member='RegionRemoved',arg0='%s'", k->name) < 0) {
                match = NULL;
                return -ENOMEM;
        }
        r = sd_bus_add_match(bus, NULL, match, on_removed, k);
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

/* When the region of that name was made: 1, 0 if there is none, or negative errno if the broker cannot say. */
static int read_created(Keeper *k, uint64_t *ret, sd_bus_error *error) {
        _cleanup_(freep) char *path = NULL;
        int r;

        r = client_get_path(k->s->bus, k->name, &path, error);
        if (r >= 0)
                r = sd_bus_get_property_trivial(k->s->bus, BUS_NAME, path, BUS_REGION_INTERFACE, "CreatedUSec", error,
                                                't', ret);
        if (r >= 0)
                return 1;
        if (sd_bus_error_has_names(error, ERROR_NO_SUCH_REGION, SD_BUS_ERROR_UNKNOWN_OBJECT)) {
                sd_bus_error_free(error);
                return 0;
        }
        return r;
}

/* Check whether the region still exists, in case its removal was missed. A broker that cannot answer now will announce it later. */
static void check(Keeper *k) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t created = 0;
        int r;

        k->check = false;
        r = read_created(k, &created, &error);
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
                if (k->check)
                        check(k);
                if (k->gone || k->s->stopped)
                        break;
                r = sd_event_run(k->s->event, UINT64_MAX);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The unit is stopped. Another region of that name is not ours to remove. */
static int end(Keeper *k, sd_bus_error *error) {
        uint64_t created = 0;
        int r;

        if (k->disconnected) {
                r = reconnect(k);
                if (r < 0)
                        return r;
        }
        r = read_created(k, &created, error);
        if (r > 0 && created != k->created_usec)
                return 0;
        if (r < 0)
                sd_bus_error_free(error);
        return client_remove_region(k->s->bus, k->name, error);
}

int start_keep(Start *s, const char *name, bool *ret_removed, sd_bus_error *error) {
        Keeper k = { .s = s, .name = name };
        int r;

        *ret_removed = false;
        r = subscribe(&k);
        if (r >= 0)
                r = read_created(&k, &k.created_usec, error);
        if (r < 0)
                return r;
        k.gone = r == 0;
        (void) sd_notifyf(false, "READY=1\nSTATUS=Region %s is there", name);
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
