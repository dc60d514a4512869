/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Counts calls by method. A filter sees every call that is dispatched, so the methods themselves count nothing. It gets
 * the names of methods, and knows neither callers nor regions.
 */

#include <errno.h>

#include "bus/call-counts.h"
#include "bus/face-types.h"

/* What the library answers. */
static const FaceMethod properties[] = { { "Get", "ss" }, { "GetAll", "s" }, { "Set", "ssv" }, {} };
static const FaceMethod object_manager[] = { { "GetManagedObjects", "" }, {} };
static const FaceMethod introspectable[] = { { "Introspect", "" }, {} };
static const FaceMethod peer[] = { { "Ping", "" }, { "GetMachineId", "" }, {} };
static const FaceInterface of_library[] = {
        { "org.freedesktop.DBus.Properties", properties },
        { "org.freedesktop.DBus.ObjectManager", object_manager },
        { "org.freedesktop.DBus.Introspectable", introspectable },
        { "org.freedesktop.DBus.Peer", peer },
        {},
};

typedef struct Count {
        const char *interface;
        const FaceMethod *method;
        uint64_t calls, errors;
} Count;

struct CallCounts {
        size_t n; /* methods; all other names share the entry after them */
        Count v[];
};

/* Whether an object with that path can have the interface. */
static bool path_has_interface(const char *path, const char *interface) {
        if (streq(interface, BUS_MANAGER_INTERFACE))
                return streq(path, BUS_PATH);
        return !streq(interface, BUS_REGION_INTERFACE) ||
               strncmp(path, BUS_REGION_PATH "/", strlen(BUS_REGION_PATH "/")) == 0;
}

static Count *find_count(CallCounts *counts, sd_bus_message *call) {
        const char *path = sd_bus_message_get_path(call), *member = sd_bus_message_get_member(call);
        const char *interface = sd_bus_message_get_interface(call);
        Count *c;

        for (c = counts->v; c->method; c++)
                /* A call may leave out the interface. */
                if (streq(c->method->member, member) && (!interface || streq(c->interface, interface)) &&
                    path_has_interface(path, c->interface))
                        break;
        return c;
}

/*
 * A call that has waited for polkit is dispatched again. It was counted the first time. A call with another signature never
 * reaches a handler: the library answers it with an error. So the error is counted here.
 */
static int filter(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Manager *manager = userdata;
        uint8_t type;
        Count *c;

        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL || authz_has(manager->authz, m))
                return 0;
        c = find_count(manager->face->call_counts, m);
        c->calls++;
        if (!c->method || !sd_bus_message_has_signature(m, c->method->signature))
                c->errors++;
        return 0;
}

static size_t count_methods(const FaceInterface *interfaces) {
        size_t n = 0;

        for (; interfaces->name; interfaces++)
                for (const FaceMethod *method = interfaces->methods; method->member; method++)
                        n++;
        return n;
}

static void add_methods(CallCounts *counts, const FaceInterface *interfaces) {
        for (; interfaces->name; interfaces++)
                for (const FaceMethod *method = interfaces->methods; method->member; method++)
                        counts->v[counts->n++] = (Count){ .interface = interfaces->name, .method = method };
}

int call_counts_start(Manager *manager, const FaceInterface *interfaces) {
        size_t n = count_methods(interfaces) + count_methods(of_library);
        CallCounts *counts;

        counts = calloc(1, sizeof(*counts) + (n + 1) * sizeof(Count));
        if (!counts)
                return -ENOMEM;
        manager->face->call_counts = counts;
        add_methods(counts, interfaces);
        add_methods(counts, of_library);
        return sd_bus_add_filter(manager->bus, NULL, filter, manager);
}

void call_counts_error(Manager *manager, sd_bus_message *call) {
        find_count(manager->face->call_counts, call)->errors++;
}

void call_counts_refused(Manager *manager, sd_bus_message *call) {
        find_count(manager->face->call_counts, call)->calls++;
        call_counts_error(manager, call);
}

int call_counts_append(Manager *manager, sd_bus_message *reply) {
        const CallCounts *counts = manager->face->call_counts;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(stt)");
        for (const Count *c = counts->v; r >= 0 && c <= counts->v + counts->n; c++)
                r = sd_bus_message_append(reply, "(stt)", c->method ? c->method->member : "other", c->calls, c->errors);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}
