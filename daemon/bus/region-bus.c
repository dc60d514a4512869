/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The objects /org/mshare1/region/NAME with the interface org.mshare1.Region: reads the arguments of calls and passes them to
 * core/. It makes no decision about rights.
 */

#include <errno.h>

#include "bus/call-counts.h"
#include "bus/face.h"
#include "bus/options.h"
#include "bus/region-bus.h"
#include "core/manager-follow.h"
#include "core/manager.h"
#include "core/region-ops.h"
#include "core/region-resize.h"
#include "core/region-rights.h"
#include "errors.h"

static int get_where(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        Region *region = userdata;
        uint64_t v = streq(property, "Address") ? region->record.address : region->record.length;

        if (!face_may_see_address(region->manager, sd_bus_get_current_message(bus), region))
                v = 0;
        return sd_bus_message_append(reply, "t", v);
}

static int get_acl(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                   void *userdata, sd_bus_error *error) {
        AclGrant grants[ACL_ENTRIES_MAX];
        const Region *region = userdata;
        bool known;
        size_t n;
        int r;

        known = region_list_grants(region, grants, &n) >= 0;
        r = sd_bus_message_open_container(reply, 'a', "(suu)");
        /* Log nothing, because each user can read this all the time. The group bits of the mode are the list's mask. */
        if (r >= 0 && !known)
                r = sd_bus_message_append(reply, "(suu)", "unknown", UINT32_MAX,
                                          (uint32_t) region->record.mode >> 3 & 7);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = sd_bus_message_append(reply, "(suu)", grants[i].group ? "group" : "user", grants[i].id,
                                          (uint32_t) grants[i].access);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_word(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                    void *userdata, sd_bus_error *error) {
        const RegionRecord *record = &((Region *) userdata)->record;
        const char *s;

        if (streq(property, "Backing"))
                s = backing_to_string(record->backing);
        else if (streq(property, "Lifetime"))
                s = lifetime_to_string(record->lifetime);
        else if (streq(property, "Access"))
                s = access_to_string(((Region *) userdata)->read_only ? ACCESS_READ : ACCESS_READ_WRITE);
        else
                s = state_to_string(record->ready);
        return sd_bus_message_append(reply, "s", s);
}

static int get_numa(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                    void *userdata, sd_bus_error *error) {
        char policy[NUMA_TEXT_MAX];

        return sd_bus_message_append(reply, "s", numa_format(&((Region *) userdata)->record.numa, policy));
}

/* The kernel's counters. They are 0 for a region that is being created or was just removed. */
static int get_usage(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        Region *region = userdata;
        KernelUsage usage = {};
        uint64_t v;

        (void) kernel_read_usage(&region->manager->kernel, region->record.name, &usage);
        if (streq(property, "NSharers"))
                v = usage.sharers;
        else if (streq(property, "NWriters"))
                v = usage.writers;
        else if (streq(property, "PageTableBytes"))
                v = usage.pgtables;
        else
                v = usage.resident;
        return sd_bus_message_append(reply, "t", v);
}

static int acquire(Call *call, void *userdata, bool open, sd_bus_error *error) {
        sd_bus_message *m = call_message(call);
        const char *access;
        int r;

        r = sd_bus_message_read(m, "s", &access);
        if (r < 0)
                return r;
        r = options_read_none(m, error);
        return r < 0 ? r : region_acquire(userdata, call, access, open, error);
}

int region_step_acquire(Call *call, void *userdata, sd_bus_error *error) {
        return acquire(call, userdata, false, error);
}

int region_step_open(Call *call, void *userdata, sd_bus_error *error) {
        return acquire(call, userdata, true, error);
}

int region_step_remove(Call *call, void *userdata, sd_bus_error *error) {
        bool force;
        int r;

        r = options_read_remove(call_message(call), &force, error);
        return r < 0 ? r : region_remove(userdata, call, force, error);
}

int region_step_resize(Call *call, void *userdata, sd_bus_error *error) {
        ResizeRequest request = {};
        int r;

        r = sd_bus_message_read(call_message(call), "t", &request.size);
        if (r >= 0)
                r = options_read_resize(call_message(call), &request, error);
        return r < 0 ? r : region_resize(userdata, call, &request, error);
}

int region_step_set_mode(Call *call, void *userdata, sd_bus_error *error) {
        uint32_t mode;
        int r;

        r = sd_bus_message_read(call_message(call), "u", &mode);
        return r < 0 ? r : region_set_mode(userdata, call, mode, error);
}

int region_step_set_owner(Call *call, void *userdata, sd_bus_error *error) {
        uint32_t uid, gid;
        int r;

        r = sd_bus_message_read(call_message(call), "uu", &uid, &gid);
        return r < 0 ? r : region_set_owner(userdata, call, uid, gid, error);
}

static int step_revoke(Call *call, void *userdata, sd_bus_error *error) {
        const char *kind;
        uint32_t id;
        int r;

        r = sd_bus_message_read(call_message(call), "su", &kind, &id);
        return r < 0 ? r : region_revoke(userdata, call, kind, id, error);
}

#define METHODS(METHOD)                                                                                                \
        METHOD("Acquire", "sa{sv}", SD_BUS_PARAM(access) SD_BUS_PARAM(options), "tth",                                 \
               SD_BUS_PARAM(address) SD_BUS_PARAM(length) SD_BUS_PARAM(lease), .step = region_step_acquire),           \
                METHOD("Open", "sa{sv}", SD_BUS_PARAM(access) SD_BUS_PARAM(options), "tthh",                           \
                       SD_BUS_PARAM(address) SD_BUS_PARAM(length) SD_BUS_PARAM(lease) SD_BUS_PARAM(region),            \
                       .step = region_step_open),                                                                      \
                METHOD("Resize", "ta{sv}", SD_BUS_PARAM(size) SD_BUS_PARAM(options), "", "",                           \
                       .step = region_step_resize),                                                                    \
                METHOD("Remove", "a{sv}", SD_BUS_PARAM(options), "", "", .step = region_step_remove),                  \
                METHOD("SetMode", "u", SD_BUS_PARAM(mode), "", "", .step = region_step_set_mode),                      \
                METHOD("SetOwner", "uu", SD_BUS_PARAM(uid) SD_BUS_PARAM(gid), "", "", .step = region_step_set_owner),  \
                METHOD("Revoke", "su", SD_BUS_PARAM(kind) SD_BUS_PARAM(id), "", "", .step = step_revoke)

const FaceMethod region_methods[] = { METHODS(FACE_METHOD), {} };

static int method(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Region *region = userdata;
        Manager *manager = region->manager;
        _cleanup_(freep) char *name = strdup(region->record.name);

        region = manager_refresh_region(manager, region);
        if (!region) {
                authz_drop(manager->authz, m);
                call_counts_error(manager, m);
                return sd_bus_error_setf(error, ERROR_NO_SUCH_REGION, "Region '%s' was unlinked by another process",
                                         name ?: "");
        }
        return face_call(manager, region_methods, m, region, error);
}

/* Address and Length differ between readers, and the usage changes all the time, so neither may be cached. */
static const sd_bus_vtable region_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Name", "s", NULL, offsetof(Region, record.name), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Address", "t", get_where, 0, 0),
        SD_BUS_PROPERTY("Length", "t", get_where, 0, 0),
        SD_BUS_PROPERTY("Size", "t", NULL, offsetof(Region, record.size), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Mode", "u", NULL, offsetof(Region, record.mode), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("UID", "u", NULL, offsetof(Region, record.uid), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("GID", "u", NULL, offsetof(Region, record.gid), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Creator", "u", NULL, offsetof(Region, record.creator), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Acl", "a(suu)", get_acl, 0, 0),
        SD_BUS_PROPERTY("Access", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Backing", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("NUMA", "s", get_numa, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Lifetime", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("LingerUSec", "t", NULL, offsetof(Region, record.linger_usec), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Label", "s", NULL, offsetof(Region, record.label), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("CreatedUSec", "t", NULL, offsetof(Region, record.created_usec), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_word, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Progress", "d", NULL, offsetof(Region, progress), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("NClients", "u", NULL, offsetof(Region, n_leases), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("NSharers", "t", get_usage, 0, 0),
        SD_BUS_PROPERTY("NWriters", "t", get_usage, 0, 0),
        SD_BUS_PROPERTY("PageTableBytes", "t", get_usage, 0, 0),
        SD_BUS_PROPERTY("ResidentBytes", "t", get_usage, 0, 0),
        METHODS(FACE_VTABLE),
        SD_BUS_VTABLE_END,
};

static int find_region(sd_bus *bus, const char *path, const char *interface, void *userdata, void **found,
                       sd_bus_error *error) {
        Region *region = manager_find_region_by_path(userdata, path);

        if (!region)
                return 0;
        *found = region;
        return 1;
}

/*
 * Sees all calls to region objects before the table above is used. If the object does not exist, the library would answer by
 * itself, and a call that has waited for polkit would not be dropped.
 */
static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *path = sd_bus_message_get_path(m);
        Manager *manager = userdata;

        if (streq(path, BUS_REGION_PATH) || manager_find_region_by_path(manager, path))
                return 0;
        authz_drop(manager->authz, m);
        call_counts_error(manager, m);
        return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT, "There is no region object '%s'", path);
}

static int enumerate(sd_bus *bus, const char *path, void *userdata, char ***nodes, sd_bus_error *error) {
        Manager *m = userdata;
        Region *region;
        size_t n = 0;
        char **v;

        v = calloc(m->n_regions + 1, sizeof(char *));
        if (!v)
                return -ENOMEM;
        LIST_FOREACH(region, &m->regions, regions) {
                v[n] = strdup(region->path);
                if (!v[n]) {
                        while (n > 0)
                                free(v[--n]);
                        free(v);
                        return -ENOMEM;
                }
                n++;
        }
        *nodes = v;
        return 1;
}

int region_add_objects(Manager *m) {
        int r;

        r = sd_bus_add_fallback(m->bus, NULL, BUS_REGION_PATH, on_call, m);
        if (r < 0)
                return r;
        r = sd_bus_add_fallback_vtable(m->bus, NULL, BUS_REGION_PATH, BUS_REGION_INTERFACE, region_vtable, find_region,
                                       m);
        if (r < 0)
                return r;
        return sd_bus_add_node_enumerator(m->bus, NULL, BUS_REGION_PATH, enumerate, m);
}
