/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The object /org/mshare1 with the interface org.mshare1.Manager: reads the arguments of calls, passes them to core/, and
 * answers calls that only read. It may use core/, and makes no decision about rights.
 */

#include <errno.h>

#include "bus/call-counts.h"
#include "bus/face.h"
#include "bus/manager-bus.h"
#include "bus/options.h"
#include "bus/region-bus.h"
#include "core/manager-create.h"
#include "core/manager-follow.h"
#include "core/manager.h"
#include "core/region-ops.h"
#include "core/suspension.h"
#include "errors.h"

static int step_create(Call *call, void *userdata, sd_bus_error *error) {
        _cleanup_(create_request_done) CreateRequest request = CREATE_REQUEST_INIT;
        sd_bus_message *m = call_message(call);
        const char *name;
        int r;

        r = sd_bus_message_read(m, "stu", &name, &request.size, &request.mode);
        if (r >= 0)
                r = free_and_strdup(&request.name, name);
        if (r >= 0)
                r = options_read_create(m, &request, error);
        return r < 0 ? r : manager_create_region(userdata, call, &request, error);
}

typedef int (*FindRegion)(Manager *manager, const char *name, Region **ret, sd_bus_error *error);

/* Look up the region that the first argument names, and do the step with it, which reads the other arguments. */
static int step_with_found(Call *call, Manager *manager, FindRegion find, CallStep step, sd_bus_error *error) {
        const char *name;
        Region *region;
        int r;

        r = sd_bus_message_read(call_message(call), "s", &name);
        if (r >= 0)
                r = find(manager, name, &region, error);
        return r < 0 ? r : step(call, region, error);
}

static int step_with_region(Call *call, Manager *manager, CallStep step, sd_bus_error *error) {
        return step_with_found(call, manager, region_find_for, step, error);
}

static int step_acquire(Call *call, void *userdata, sd_bus_error *error) {
        return step_with_found(call, userdata, region_find_to_acquire, region_step_acquire, error);
}

static int step_open(Call *call, void *userdata, sd_bus_error *error) {
        return step_with_found(call, userdata, region_find_to_acquire, region_step_open, error);
}

static int step_resize(Call *call, void *userdata, sd_bus_error *error) {
        return step_with_region(call, userdata, region_step_resize, error);
}

static int step_remove(Call *call, void *userdata, sd_bus_error *error) {
        return step_with_region(call, userdata, region_step_remove, error);
}

static int step_set_mode(Call *call, void *userdata, sd_bus_error *error) {
        return step_with_region(call, userdata, region_step_set_mode, error);
}

static int step_set_owner(Call *call, void *userdata, sd_bus_error *error) {
        return step_with_region(call, userdata, region_step_set_owner, error);
}

static int suspend(Call *call, void *region, sd_bus_error *error) {
        uint32_t final_mode;
        int r;

        r = sd_bus_message_read(call_message(call), "u", &final_mode);
        return r < 0 ? r : region_suspend(region, call, final_mode, error);
}

static int step_suspend(Call *call, void *userdata, sd_bus_error *error) {
        return step_with_region(call, userdata, suspend, error);
}

static int method_release(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Manager *manager = userdata;
        const char *name;
        Region *region;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
                r = region_find_for(manager, name, &region, error);
        if (r < 0)
                return r;
        region_release(region, callers_find(manager->callers, m), sd_bus_message_get_sender(m));
        return sd_bus_reply_method_return(m, NULL);
}

static int append_region(Manager *manager, sd_bus_message *m, sd_bus_message *reply, Region *region) {
        const RegionRecord *record = &region->record;
        bool visible = face_may_see_address(manager, m, region);

        return sd_bus_message_append(reply, "(sottuuuus)", record->name, region->path, visible ? record->address : 0,
                                     visible ? record->length : 0, (uint32_t) record->mode, (uint32_t) record->uid,
                                     (uint32_t) record->gid, region->n_leases, state_to_string(record->ready));
}

static int method_list_regions(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *manager = userdata;
        Region *region, *next;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sottuuuus)");
        for (region = LIST_FIRST(&manager->regions); r >= 0 && region; region = next) {
                next = LIST_NEXT(region, regions);
                region = manager_refresh_region(manager, region);
                if (region)
                        r = append_region(manager, m, reply, region);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        return sd_bus_send(manager->bus, reply, NULL);
}

static int method_get_region(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name;
        Region *region;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
                r = region_find_for(userdata, name, &region, error);
        return r < 0 ? r : sd_bus_reply_method_return(m, "o", region->path);
}

static int method_list_clients(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *manager = userdata;
        const char *name;
        Region *region;
        Lease *lease;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
                r = region_find_for(manager, name, &region, error);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(uusst)");
        if (r < 0)
                return r;
        LIST_FOREACH(lease, &region->leases, leases) {
                r = sd_bus_message_append(reply, "(uusst)", (uint32_t) lease->record.uid, (uint32_t) lease->record.pid,
                                          lease->record.unit ?: "", access_to_string(lease->record.access),
                                          lease->record.since_usec);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(manager->bus, reply, NULL);
}

#define METHODS(METHOD)                                                                                                \
        METHOD("CreateRegion", "stua{sv}",                                                                             \
               SD_BUS_PARAM(name) SD_BUS_PARAM(size) SD_BUS_PARAM(mode) SD_BUS_PARAM(options), "ott",                  \
               SD_BUS_PARAM(region) SD_BUS_PARAM(address) SD_BUS_PARAM(length), .step = step_create),                  \
                METHOD("AcquireRegion", "ssa{sv}", SD_BUS_PARAM(name) SD_BUS_PARAM(access) SD_BUS_PARAM(options),      \
                       "tth", SD_BUS_PARAM(address) SD_BUS_PARAM(length) SD_BUS_PARAM(lease), .step = step_acquire),   \
                METHOD("OpenRegion", "ssa{sv}", SD_BUS_PARAM(name) SD_BUS_PARAM(access) SD_BUS_PARAM(options), "tthh", \
                       SD_BUS_PARAM(address) SD_BUS_PARAM(length) SD_BUS_PARAM(lease) SD_BUS_PARAM(region),            \
                       .step = step_open),                                                                             \
                METHOD("ResizeRegion", "sta{sv}", SD_BUS_PARAM(name) SD_BUS_PARAM(size) SD_BUS_PARAM(options), "", "", \
                       .step = step_resize),                                                                           \
                METHOD("ReleaseRegion", "s", SD_BUS_PARAM(name), "", "", .handler = method_release),                   \
                METHOD("RemoveRegion", "sa{sv}", SD_BUS_PARAM(name) SD_BUS_PARAM(options), "", "",                     \
                       .step = step_remove),                                                                           \
                METHOD("SetRegionMode", "su", SD_BUS_PARAM(name) SD_BUS_PARAM(mode), "", "", .step = step_set_mode),   \
                METHOD("SuspendRegion", "su", SD_BUS_PARAM(name) SD_BUS_PARAM(final_mode), "", "",                     \
                       .step = step_suspend),                                                                          \
                METHOD("SetRegionOwner", "suu", SD_BUS_PARAM(name) SD_BUS_PARAM(uid) SD_BUS_PARAM(gid), "", "",        \
                       .step = step_set_owner),                                                                        \
                METHOD("ListRegions", "", "", "a(sottuuuus)", SD_BUS_PARAM(regions), .handler = method_list_regions),  \
                METHOD("GetRegion", "s", SD_BUS_PARAM(name), "o", SD_BUS_PARAM(region), .handler = method_get_region), \
                METHOD("ListClients", "s", SD_BUS_PARAM(name), "a(uusst)", SD_BUS_PARAM(clients),                      \
                       .handler = method_list_clients)

const FaceMethod manager_methods[] = { METHODS(FACE_METHOD), {} };

static int method(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return face_call(userdata, manager_methods, m, userdata, error);
}

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", MSHARE_VERSION);
}

static int get_kernel_support(sd_bus *bus, const char *path, const char *interface, const char *property,
                              sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "b", (int) ((Manager *) userdata)->kernel.supported);
}

/* Page tables of all regions: what they use, and what every sharer but the first would use without sharing. */
static int get_page_tables(sd_bus *bus, const char *path, const char *interface, const char *property,
                           sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        uint64_t held = 0, saved = 0;
        Manager *m = userdata;
        Region *region;

        LIST_FOREACH(region, &m->regions, regions) {
                KernelUsage usage;

                if (kernel_read_usage(&m->kernel, region->record.name, &usage) < 0)
                        continue;
                held += usage.pgtables;
                if (usage.sharers > 1)
                        saved += (usage.sharers - 1) * usage.pgtables;
        }
        return sd_bus_message_append(reply, "t", streq(property, "PageTableBytes") ? held : saved);
}

static int get_calls(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        return call_counts_append(userdata, reply);
}

#define PROPERTY_LIMIT(name, limit)                                                                                    \
        SD_BUS_PROPERTY(name, "t", NULL, offsetof(Manager, config.limits.max) + (limit) * sizeof(uint64_t),            \
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)

#define PROPERTY_POLKIT(name, type, member)                                                                            \
        SD_BUS_PROPERTY(name, type, NULL, offsetof(Manager, polkit_counts.member), 0)

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("KernelSupport", "b", get_kernel_support, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Granule", "t", NULL, offsetof(Manager, kernel.granule), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("NRegions", "u", NULL, offsetof(Manager, n_regions), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("NClients", "u", NULL, offsetof(Manager, n_leases), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("PageTableBytes", "t", get_page_tables, 0, 0),
        SD_BUS_PROPERTY("PageTableBytesSaved", "t", get_page_tables, 0, 0),
        SD_BUS_PROPERTY("CallStatistics", "a(stt)", get_calls, 0, 0),
        PROPERTY_POLKIT("PolkitAsked", "t", asked),
        PROPERTY_POLKIT("PolkitGranted", "t", granted),
        PROPERTY_POLKIT("PolkitDenied", "t", denied),
        PROPERTY_POLKIT("PolkitFailed", "t", failed),
        PROPERTY_POLKIT("PolkitTimedOut", "t", timed_out),
        PROPERTY_POLKIT("PolkitCancelled", "t", cancelled),
        PROPERTY_POLKIT("NPolkitWaiting", "u", waiting),
        PROPERTY_POLKIT("PolkitWaitUSec", "t", wait_usec),
        PROPERTY_LIMIT("RegionsMax", LIMIT_REGIONS),
        PROPERTY_LIMIT("RegionsPerUserMax", LIMIT_USER_REGIONS),
        PROPERTY_LIMIT("BytesPerUserMax", LIMIT_USER_BYTES),
        PROPERTY_LIMIT("LeasesPerRegionMax", LIMIT_REGION_LEASES),
        PROPERTY_LIMIT("LeasesPerUserMax", LIMIT_USER_LEASES),
        PROPERTY_LIMIT("PendingCallsPerUserMax", LIMIT_USER_PENDING),
        METHODS(FACE_VTABLE),
        SD_BUS_SIGNAL_WITH_ARGS("RegionAdded", SD_BUS_ARGS("s", name, "o", region), 0),
        SD_BUS_SIGNAL_WITH_ARGS("RegionRemoved", SD_BUS_ARGS("s", name, "o", region), 0),
        SD_BUS_SIGNAL_WITH_ARGS("ClientAcquired", SD_BUS_ARGS("s", name, "u", uid), 0),
        SD_BUS_SIGNAL_WITH_ARGS("ClientReleased", SD_BUS_ARGS("s", name, "u", uid), 0),
        SD_BUS_VTABLE_END,
};

int manager_add_object(Manager *m) {
        int r;

        r = sd_bus_add_object_manager(m->bus, NULL, BUS_PATH);
        return r < 0 ? r : sd_bus_add_object_vtable(m->bus, NULL, BUS_PATH, BUS_MANAGER_INTERFACE, manager_vtable, m);
}
