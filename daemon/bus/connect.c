/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The connection to the bus: opens it, exports the objects, and ends the program when the bus is gone. It knows which objects
 * exist, but not what they do.
 */

#include "bus/call-counts.h"
#include "bus/connect.h"
#include "bus/log-control.h"
#include "bus/manager-bus.h"
#include "bus/region-bus.h"
#include "core/suspension.h"

static const FaceInterface interfaces[] = {
        { BUS_MANAGER_INTERFACE, manager_methods },
        { BUS_REGION_INTERFACE, region_methods },
        {},
};

/* These go through all leases of a region, or through all regions. */
static const SlowCall slow_calls[] = {
        { BUS_MANAGER_INTERFACE, "ListClients", NULL },
        { BUS_MANAGER_INTERFACE, "ListRegions", NULL },
        { "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", NULL },
        { "org.freedesktop.DBus.Properties", "GetAll", BUS_PATH },
        { "org.freedesktop.DBus.Properties", "Get", BUS_PATH },
        {},
};

static void caller_gone(const char *sender, void *userdata) {
        Manager *m = userdata;

        turns_forget(m->turns, sender);
        authz_forget(m->authz, sender);
        suspension_forget(m, sender);
}

static void caller_refused(sd_bus_message *call, void *userdata) {
        call_counts_refused(userdata, call);
}

/* The bus is gone. All state is in /run and in the kernel, where the next run finds it. */
static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *sender = sd_bus_message_get_sender(m);
        Manager *manager = userdata;

        /* The library makes this message itself. A bus should not pass one on from another sender. */
        if (!sender || !streq(sender, "org.freedesktop.DBus.Local"))
                return 0;
        log_message(&manager->log, LOG_WARNING, "The bus has closed the connection, exiting");
        return sd_event_exit(manager->event, 0);
}

int manager_connect(Manager *m, Face **ret) {
        CallContext context;
        sd_id128_t id;
        int r;

        r = face_new(m, ret);
        if (r >= 0)
                r = sd_bus_open_system(&m->bus);
        if (r >= 0)
                r = sd_bus_get_bus_id(m->bus, &id);
        if (r < 0)
                goto fail;
        (void) sd_id128_to_string(id, m->bus_id);
        context = (CallContext){
                .bus = m->bus,
                .event = m->event,
                .log = &m->log,
                .users = &m->users,
                .limits = &m->config.limits,
                .n_leases = &m->n_leases,
        };
        r = sd_bus_add_match(m->bus, NULL,
                             "type='signal',sender='org.freedesktop.DBus.Local',path='/org/freedesktop/DBus/Local',"
                             "interface='org.freedesktop.DBus.Local',member='Disconnected'",
                             on_disconnected, m);
        if (r >= 0)
                r = call_counts_start(m, interfaces);
        if (r >= 0)
                r = turns_new(&context, &m->callers, slow_calls, caller_refused, m, &m->turns);
        if (r >= 0)
                r = callers_new(m->bus, &m->log, &m->n_leases, caller_gone, caller_refused, m, &m->callers);
        if (r >= 0)
                r = authz_new(&context, m->callers, &m->polkit_counts, &m->authz);
        if (r >= 0)
                r = manager_add_object(m);
        if (r >= 0)
                r = region_add_objects(m);
        if (r >= 0)
                r = log_control_add_object(m);
        if (r >= 0)
                r = sd_bus_attach_event(m->bus, m->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                goto fail;
        return 0;

fail:
        log_message(&m->log, LOG_ERR, "Cannot connect to the system bus: %s", strerror(-r));
        return r;
}
