/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Counts calls by method. A filter sees every call that is dispatched, so the methods themselves count nothing. It knows the
 * names of methods, but neither callers nor regions.
 */

#include <errno.h>

#include "bus/call-counts.h"
#include "bus/face-types.h"

#define PROPERTIES "org.freedesktop.DBus.Properties"
#define PEER "org.freedesktop.DBus.Peer"

/* A call with another signature never reaches a handler: the library answers it with an error. So it is counted here. */
static const struct {
        const char *member, *interface, *signature;
} methods[] = {
        { "CreateRegion", BUS_MANAGER_INTERFACE, "stua{sv}" },
        { "AcquireRegion", BUS_MANAGER_INTERFACE, "ssa{sv}" },
        { "OpenRegion", BUS_MANAGER_INTERFACE, "ssa{sv}" },
        { "ResizeRegion", BUS_MANAGER_INTERFACE, "sta{sv}" },
        { "ReleaseRegion", BUS_MANAGER_INTERFACE, "s" },
        { "RemoveRegion", BUS_MANAGER_INTERFACE, "sa{sv}" },
        { "SetRegionMode", BUS_MANAGER_INTERFACE, "su" },
        { "SuspendRegion", BUS_MANAGER_INTERFACE, "su" },
        { "SetRegionOwner", BUS_MANAGER_INTERFACE, "suu" },
        { "ListRegions", BUS_MANAGER_INTERFACE, "" },
        { "GetRegion", BUS_MANAGER_INTERFACE, "s" },
        { "ListClients", BUS_MANAGER_INTERFACE, "s" },
        { "Acquire", BUS_REGION_INTERFACE, "sa{sv}" },
        { "Open", BUS_REGION_INTERFACE, "sa{sv}" },
        { "Resize", BUS_REGION_INTERFACE, "ta{sv}" },
        { "Remove", BUS_REGION_INTERFACE, "a{sv}" },
        { "SetMode", BUS_REGION_INTERFACE, "u" },
        { "SetOwner", BUS_REGION_INTERFACE, "uu" },
        { "Revoke", BUS_REGION_INTERFACE, "su" },
        { "Get", PROPERTIES, "ss" },
        { "GetAll", PROPERTIES, "s" },
        { "Set", PROPERTIES, "ssv" },
        { "GetManagedObjects", "org.freedesktop.DBus.ObjectManager", "" },
        { "Introspect", "org.freedesktop.DBus.Introspectable", "" },
        { "Ping", PEER, "" },
        { "GetMachineId", PEER, "" },
};

#define OTHER ELEMENTSOF(methods)

struct CallCounts {
        uint64_t calls[ELEMENTSOF(methods) + 1], errors[ELEMENTSOF(methods) + 1];
};

/* Whether an object with that path can have the interface. */
static bool path_has_interface(const char *path, const char *interface) {
        if (streq(interface, BUS_MANAGER_INTERFACE))
                return streq(path, BUS_PATH);
        return !streq(interface, BUS_REGION_INTERFACE) ||
               strncmp(path, BUS_REGION_PATH "/", strlen(BUS_REGION_PATH "/")) == 0;
}

static size_t find_method(sd_bus_message *call) {
        const char *path = sd_bus_message_get_path(call), *member = sd_bus_message_get_member(call);
        const char *interface = sd_bus_message_get_interface(call);
        size_t i;

        for (i = 0; i < OTHER; i++)
                /* A call may leave out the interface. */
                if (streq(methods[i].member, member) && (!interface || streq(methods[i].interface, interface)) &&
                    path_has_interface(path, methods[i].interface))
                        break;
        return i;
}

/* A call that has waited for polkit is dispatched again. It was counted the first time. */
static int filter(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Manager *manager = userdata;
        uint8_t type;
        size_t i;

        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL || authz_has(manager->authz, m))
                return 0;
        i = find_method(m);
        manager->face->call_counts->calls[i]++;
        if (i == OTHER || !sd_bus_message_has_signature(m, methods[i].signature))
                manager->face->call_counts->errors[i]++;
        return 0;
}

int call_counts_start(Manager *manager) {
        manager->face->call_counts = calloc(1, sizeof(*manager->face->call_counts));
        if (!manager->face->call_counts)
                return -ENOMEM;
        return sd_bus_add_filter(manager->bus, NULL, filter, manager);
}

void call_counts_error(Manager *manager, sd_bus_message *call) {
        manager->face->call_counts->errors[find_method(call)]++;
}

void call_counts_refused(Manager *manager, sd_bus_message *call) {
        manager->face->call_counts->calls[find_method(call)]++;
        call_counts_error(manager, call);
}

int call_counts_append(Manager *manager, sd_bus_message *reply) {
        const CallCounts *counts = manager->face->call_counts;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(stt)");
        for (size_t i = 0; r >= 0 && i <= OTHER; i++)
                r = sd_bus_message_append(reply, "(stt)", i == OTHER ? "other" : methods[i].member, counts->calls[i],
                                          counts->errors[i]);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}
