/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * org.mshare1 as far as the tests of library and command need it, without policy. Regions of certain names misbehave,
 * see AcquireRegion. Usage: fake-broker FOLDER; prints a line when it owns the name.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "errors.h"
#include "fake-region.h"
#include "names.h"
#include "util.h"

static int no_such(sd_bus_error *error, const char *name) {
        return sd_bus_error_setf(error, ERROR_NO_SUCH_REGION, "There is no region \"%s\"", name);
}

static void peer(sd_bus_message *m, uint32_t *uid, uint32_t *pid) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        uid_t u = 0;
        pid_t p = 0;

        if (sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID | SD_BUS_CREDS_PID, &creds) >= 0) {
                (void) sd_bus_creds_get_euid(creds, &u);
                (void) sd_bus_creds_get_pid(creds, &p);
        }
        *uid = u;
        *pid = (uint32_t) p;
}

static int emit(Fake *f, const char *signal, const FakeRegion *r, uint32_t uid) {
        _cleanup_(freep) char *path = NULL;

        if (strncmp(signal, "Region", 6) != 0)
                return sd_bus_emit_signal(f->bus, BUS_PATH, BUS_MANAGER_INTERFACE, signal, "su", r->name, uid);
        if (sd_bus_path_encode(BUS_REGION_PATH, r->name, &path) < 0)
                return -ENOMEM;
        return sd_bus_emit_signal(f->bus, BUS_PATH, BUS_MANAGER_INTERFACE, signal, "so", r->name, path);
}

static int on_hup(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        FakeClient *c = userdata;
        FakeRegion *r = c->region;
        uint32_t uid = c->uid;

        fake_client_remove(c);
        (void) emit(r->fake, "ClientReleased", r, uid);
        if (streq(r->lifetime, "while-leased") && fake_region_clients(r) == 0) {
                (void) emit(r->fake, "RegionRemoved", r, 0);
                fake_region_remove(r);
        }
        return 0;
}

/* Every option is also kept as text, in the order of the message, so that tests can compare it. */
static int read_options(sd_bus_message *m, FakeRegion *r, sd_bus_error *error) {
        char *p = r->options, *end = r->options + sizeof(r->options);
        int k;

        k = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (k >= 0 && (k = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                const char *key, *contents, *s = "";
                uint64_t t = 0;
                uint32_t u = 0;
                int b = 0;

                if (sd_bus_message_read(m, "s", &key) < 0 || sd_bus_message_peek_type(m, NULL, &contents) < 0)
                        return -EBADMSG;
                if (streq(contents, "t"))
                        k = sd_bus_message_read(m, "v", "t", &t);
                else if (streq(contents, "u"))
                        k = sd_bus_message_read(m, "v", "u", &u);
                else if (streq(contents, "b"))
                        k = sd_bus_message_read(m, "v", "b", &b);
                else if (streq(contents, "h"))
                        k = sd_bus_message_skip(m, "v");
                else
                        k = sd_bus_message_read(m, "v", "s", &s);
                if (k < 0)
                        return k;
                if (streq(contents, "s"))
                        p += snprintf(p, (size_t) (end - p), "%s=%s ", key, s);
                else
                        p += snprintf(p, (size_t) (end - p), "%s=%" PRIu64 " ", key, t ?: u ?: (uint64_t) b);

                if (streq(key, "uid"))
                        r->uid = u;
                else if (streq(key, "gid"))
                        r->gid = u;
                else if (streq(key, "address"))
                        r->address = t;
                else if (streq(key, "backing"))
                        (void) snprintf(r->backing, sizeof(r->backing), "%s", s);
                else if (streq(key, "lifetime"))
                        (void) snprintf(r->lifetime, sizeof(r->lifetime), "%s", s);
                k = sd_bus_message_exit_container(m);
        }
        return k;
}

static int create_region(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fake *f = userdata;
        _cleanup_(freep) char *path = NULL;
        FakeRegion *r;
        const char *name;
        uint64_t size;
        uint32_t mode, uid, pid;
        int k;

        k = sd_bus_message_read(m, "stu", &name, &size, &mode);
        if (k < 0)
                return k;
        if (streq(name, "unsupported"))
                return sd_bus_error_set(error, ERROR_KERNEL_UNSUPPORTED, "This kernel has no mshare");
        if (streq(name, "askpass") && sd_bus_message_get_allow_interactive_authorization(m) == 0)
                return sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, "A password is needed");
        /* As long as a user takes to type a password. */
        if (streq(name, "asking") && fake_region_find(f, name))
                return 1;
        if (fake_region_find(f, name))
                return sd_bus_error_setf(error, ERROR_REGION_EXISTS, "Region \"%s\" exists", name);

        k = fake_region_add(f, name, size, &r);
        if (k < 0)
                return k;
        peer(m, &uid, &pid);
        r->mode = mode;
        r->uid = uid;
        r->gid = 0;
        k = read_options(m, r, error);
        if (k >= 0)
                k = sd_bus_path_encode(BUS_REGION_PATH, name, &path);
        if (k < 0) {
                fake_region_remove(r);
                return k;
        }
        if (streq(r->backing, "empty"))
                fake_region_empty(r);
        (void) emit(f, "RegionAdded", r, 0);
        return sd_bus_reply_method_return(m, "ott", path, r->address, r->length);
}

static int acquire_region(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        bool open = sd_bus_message_is_method_call(m, NULL, "OpenRegion") > 0;
        _cleanup_(closep) int fd = -1, file = -1;
        uint64_t address, length;
        Fake *f = userdata;
        const char *name, *access;
        FakeRegion *r;
        uint32_t uid, pid;
        int k;

        k = sd_bus_message_read(m, "ss", &name, &access);
        if (k < 0)
                return k;

        /* Answer like a broker that is older than the method. */
        if (open && strncmp(name, "named", 5) == 0)
                return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_METHOD, "Unknown method OpenRegion");
        if (streq(name, "denied"))
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Mode 0600 of region \"denied\" does not admit you");
        if (streq(name, "unready"))
                return sd_bus_error_set(error, ERROR_REGION_NOT_READY, "Region \"unready\" is being made");
        if (streq(name, "unsupported"))
                return sd_bus_error_set(error, ERROR_KERNEL_UNSUPPORTED, "This kernel has no mshare");
        if (streq(name, "limited"))
                return sd_bus_error_set(error, ERROR_LIMIT_EXCEEDED, "LeasesPerUser=7 is reached");
        if (streq(name, "askpass") && sd_bus_message_get_allow_interactive_authorization(m) == 0)
                return sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, "A password is needed");
        if (streq(name, "silent"))
                return 1;

        /* No region has an empty name: a client uses it to ask whether regions are possible at all. */
        if (!name[0] && fake_region_find(f, "unmounted"))
                return sd_bus_error_set(error, ERROR_KERNEL_UNSUPPORTED, "msharefs is not mounted");

        r = fake_region_find(f, name);
        if (!r)
                return no_such(error, name);

        peer(m, &uid, &pid);
        k = fake_client_add(r, access, uid, pid, sd_bus_message_get_sender(m), on_hup, &fd);
        if (k < 0)
                return k;
        (void) emit(f, "ClientAcquired", r, uid);
        address = streq(name, "liar") || streq(name, "named-liar") ? r->address + FAKE_GRANULE
                  : streq(name, "nowhere")                         ? 0
                                                                   : r->address;
        length = r->length;
        if (!open)
                return sd_bus_reply_method_return(m, "tth", address, length, fd);
        file = fake_region_open(r, access);
        return file < 0 ? file : sd_bus_reply_method_return(m, "tthh", address, length, fd, file);
}

/* sd-bus does not allow an answer with a signature other than the method's: answer before it checks. */
static int garble(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name = NULL;

        if ((!sd_bus_message_is_method_call(m, BUS_MANAGER_INTERFACE, "AcquireRegion") &&
             !sd_bus_message_is_method_call(m, BUS_MANAGER_INTERFACE, "OpenRegion")) ||
            sd_bus_message_read(m, "s", &name) < 0)
                return 0;
        if (streq(name, "garbled"))
                return sd_bus_reply_method_return(m, "s", "?");
        return sd_bus_message_rewind(m, 1) < 0 ? -EIO : 0;
}

static int remove_region(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fake *f = userdata;
        FakeRegion *r;
        const char *name, *key;
        int force = 0, k;

        k = sd_bus_message_read(m, "s", &name);
        if (k < 0)
                return k;
        k = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (k < 0)
                return k;
        while ((k = sd_bus_message_read(m, "{sv}", &key, "b", &force)) > 0)
                if (!streq(key, "force"))
                        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Unknown option \"%s\"", key);

        r = fake_region_find(f, name);
        if (!r)
                return no_such(error, name);
        if (fake_region_clients(r) > 0 && !force)
                return sd_bus_error_setf(error, ERROR_REGION_BUSY, "Region \"%s\" has %u clients", name,
                                         fake_region_clients(r));
        (void) emit(f, "RegionRemoved", r, 0);
        fake_region_remove(r);
        return sd_bus_reply_method_return(m, NULL);
}

static int resize_region(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        FakeRegion *r;
        const char *name;
        uint64_t size;
        int k;

        k = sd_bus_message_read(m, "st", &name, &size);
        if (k < 0)
                return k;
        r = fake_region_find(userdata, name);
        if (!r)
                return no_such(error, name);
        r->size = size;
        r->options[0] = '\0';
        k = read_options(m, r, error);
        return k < 0 ? k : sd_bus_reply_method_return(m, NULL);
}

static int set_mode(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        FakeRegion *r;
        const char *name;
        uint32_t mode;
        int k;

        k = sd_bus_message_read(m, "su", &name, &mode);
        if (k < 0)
                return k;
        r = fake_region_find(userdata, name);
        if (!r)
                return no_such(error, name);
        r->mode = mode;
        return sd_bus_reply_method_return(m, NULL);
}

static int set_owner(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        FakeRegion *r;
        const char *name;
        uint32_t uid, gid;
        int k;

        k = sd_bus_message_read(m, "suu", &name, &uid, &gid);
        if (k < 0)
                return k;
        r = fake_region_find(userdata, name);
        if (!r)
                return no_such(error, name);
        /* Another caller has been faster. */
        if (streq(name, "moving"))
                r->uid = r->gid = 2;
        if (uid != UINT32_MAX)
                r->uid = uid;
        if (gid != UINT32_MAX)
                r->gid = gid;
        return sd_bus_reply_method_return(m, NULL);
}

static int list_regions(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Fake *f = userdata;
        size_t i;
        int k;

        k = sd_bus_message_new_method_return(m, &reply);
        if (k >= 0)
                k = sd_bus_message_open_container(reply, 'a', "(sottuuuus)");
        for (i = 0; k >= 0 && i < FAKE_REGIONS_MAX; i++) {
                _cleanup_(freep) char *path = NULL;
                FakeRegion *r = f->regions[i];

                if (!r)
                        continue;
                k = sd_bus_path_encode(BUS_REGION_PATH, r->name, &path);
                if (k >= 0)
                        k = sd_bus_message_append(reply, "(sottuuuus)", r->name, path,
                                                  streq(r->name, "hidden") ? 0 : r->address,
                                                  streq(r->name, "hidden") ? 0 : r->length, r->mode, r->uid, r->gid,
                                                  fake_region_clients(r), r->ready ? "ready" : "creating");
        }
        if (k >= 0)
                k = sd_bus_message_close_container(reply);
        return k < 0 ? k : sd_bus_send(f->bus, reply, NULL);
}

static int get_region(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(freep) char *path = NULL;
        const char *name;
        int k;

        k = sd_bus_message_read(m, "s", &name);
        if (k < 0)
                return k;
        if (!fake_region_find(userdata, name))
                return no_such(error, name);
        k = sd_bus_path_encode(BUS_REGION_PATH, name, &path);
        return k < 0 ? k : sd_bus_reply_method_return(m, "o", path);
}

static int list_clients(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Fake *f = userdata;
        FakeRegion *r;
        const char *name;
        size_t i;
        int k;

        k = sd_bus_message_read(m, "s", &name);
        if (k < 0)
                return k;
        r = fake_region_find(f, name);
        if (!r)
                return no_such(error, name);

        k = sd_bus_message_new_method_return(m, &reply);
        if (k >= 0)
                k = sd_bus_message_open_container(reply, 'a', "(uusst)");
        for (i = 0; k >= 0 && i < FAKE_CLIENTS_MAX; i++) {
                const FakeClient *c = f->clients + i;

                if (c->region == r)
                        k = sd_bus_message_append(reply, "(uusst)", c->uid, c->pid, "test.service", c->access,
                                                  c->since);
        }
        if (k >= 0)
                k = sd_bus_message_close_container(reply);
        return k < 0 ? k : sd_bus_send(f->bus, reply, NULL);
}

static int property(sd_bus *bus, const char *path, const char *interface, const char *name, sd_bus_message *reply,
                    void *userdata, sd_bus_error *error) {
        FakeRegion *r = userdata;

        if (streq(name, "NClients"))
                return sd_bus_message_append(reply, "u", fake_region_clients(r));
        if (streq(name, "NSharers"))
                return sd_bus_message_append(reply, "t", UINT64_C(3));
        if (streq(name, "PageTableBytes"))
                return sd_bus_message_append(reply, "t", UINT64_C(12288));
        if (streq(name, "ResidentBytes"))
                return sd_bus_message_append(reply, "t", UINT64_C(5) << 20);
        if (streq(name, "State"))
                return sd_bus_message_append(reply, "s", r->ready ? "ready" : "creating");
        if (streq(name, "Progress"))
                return sd_bus_message_append(reply, "d", r->ready ? 1.0 : 0.25);
        if (streq(name, "Access"))
                return sd_bus_message_append(reply, "s", streq(r->name, "readonly") ? "r" : "rw");
        if (streq(name, "Backing"))
                return sd_bus_message_append(reply, "s", r->backing);
        if (streq(name, "NUMA"))
                return sd_bus_message_append(reply, "s", streq(r->name, "bound") ? "bind:0-1" : "default");
        if (streq(name, "Lifetime"))
                return sd_bus_message_append(reply, "s", r->lifetime);
        if (streq(name, "Acl"))
                return streq(r->name, "listed")
                               ? sd_bus_message_append(reply, "a(suu)", 2, "user", 1000U, 6U, "group", 7U, 4U)
                               : sd_bus_message_append(reply, "a(suu)", 0);
        return sd_bus_message_append(reply, "s", r->options);
}

/* The address of "hidden" is secret. */
static int place(sd_bus *bus, const char *path, const char *interface, const char *name, sd_bus_message *reply,
                 void *userdata, sd_bus_error *error) {
        const FakeRegion *r = userdata;
        uint64_t v = streq(name, "Address") ? r->address : r->length;

        return sd_bus_message_append(reply, "t", streq(r->name, "hidden") ? 0 : v);
}

static int manager_property(sd_bus *bus, const char *path, const char *interface, const char *name,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Fake *f = userdata;
        uint32_t regions = 0, clients = 0;
        size_t i;

        for (i = 0; i < FAKE_REGIONS_MAX; i++)
                regions += f->regions[i] != NULL;
        for (i = 0; i < FAKE_CLIENTS_MAX; i++)
                clients += f->clients[i].region != NULL;

        if (streq(name, "Version"))
                return sd_bus_message_append(reply, "s", "0.1-fake");
        if (streq(name, "KernelSupport"))
                return sd_bus_message_append(reply, "b", !getenv("FAKE_NO_KERNEL"));
        if (streq(name, "NRegions"))
                return sd_bus_message_append(reply, "u", regions);
        if (streq(name, "NClients"))
                return sd_bus_message_append(reply, "u", clients);
        if (streq(name, "Granule"))
                return sd_bus_message_append(reply, "t", FAKE_GRANULE);
        if (streq(name, "CallStatistics"))
                return sd_bus_message_append(reply, "a(stt)", 2, "AcquireRegion", UINT64_C(12), UINT64_C(3), "other",
                                             UINT64_C(1), UINT64_C(1));
        if (streq(name, "NPolkitWaiting"))
                return sd_bus_message_append(reply, "u", 2U);
        if (streq(name, "PolkitWaitUSec"))
                return sd_bus_message_append(reply, "t", UINT64_C(1500000));
        if (strncmp(name, "Polkit", strlen("Polkit")) == 0)
                return sd_bus_message_append(reply, "t", (uint64_t) strlen(name));
        return sd_bus_message_append(reply, "t", UINT64_C(1) << 20);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("CreateRegion", "stua{sv}", "ott", create_region, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("AcquireRegion", "ssa{sv}", "tth", acquire_region, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("OpenRegion", "ssa{sv}", "tthh", acquire_region, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ResizeRegion", "sta{sv}", "", resize_region, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("RemoveRegion", "sa{sv}", "", remove_region, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("SetRegionMode", "su", "", set_mode, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("SetRegionOwner", "suu", "", set_owner, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListRegions", "", "a(sottuuuus)", list_regions, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("GetRegion", "s", "o", get_region, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListClients", "s", "a(uusst)", list_clients, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", manager_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("KernelSupport", "b", manager_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Granule", "t", manager_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("NRegions", "u", manager_property, 0, 0),
        SD_BUS_PROPERTY("NClients", "u", manager_property, 0, 0),
        SD_BUS_PROPERTY("PageTableBytes", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("PageTableBytesSaved", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("CallStatistics", "a(stt)", manager_property, 0, 0),
        SD_BUS_PROPERTY("PolkitAsked", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("PolkitGranted", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("PolkitDenied", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("PolkitFailed", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("PolkitTimedOut", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("PolkitCancelled", "t", manager_property, 0, 0),
        SD_BUS_PROPERTY("NPolkitWaiting", "u", manager_property, 0, 0),
        SD_BUS_PROPERTY("PolkitWaitUSec", "t", manager_property, 0, 0),
        SD_BUS_SIGNAL("RegionAdded", "so", 0),
        SD_BUS_SIGNAL("RegionRemoved", "so", 0),
        SD_BUS_SIGNAL("ClientAcquired", "su", 0),
        SD_BUS_SIGNAL("ClientReleased", "su", 0),
        SD_BUS_VTABLE_END,
};

#define FIELD(name, type, member) SD_BUS_PROPERTY(name, type, NULL, offsetof(FakeRegion, member), 0)
#define COMPUTED(name, type, flags) SD_BUS_PROPERTY(name, type, property, 0, flags)

static const sd_bus_vtable region_vtable[] = {
        SD_BUS_VTABLE_START(0),
        FIELD("Name", "s", name),
        SD_BUS_PROPERTY("Address", "t", place, 0, 0),
        SD_BUS_PROPERTY("Length", "t", place, 0, 0),
        FIELD("Size", "t", size),
        FIELD("Mode", "u", mode),
        FIELD("UID", "u", uid),
        FIELD("GID", "u", gid),
        FIELD("CreatedUSec", "t", created),
        COMPUTED("Access", "s", 0),
        COMPUTED("Acl", "a(suu)", 0),
        COMPUTED("Backing", "s", 0),
        COMPUTED("NUMA", "s", 0),
        COMPUTED("Lifetime", "s", 0),
        COMPUTED("NClients", "u", 0),
        COMPUTED("NSharers", "t", 0),
        COMPUTED("PageTableBytes", "t", 0),
        COMPUTED("ResidentBytes", "t", 0),
        COMPUTED("State", "s", 0),
        COMPUTED("Progress", "d", 0),
        COMPUTED("TestOptions", "s", SD_BUS_VTABLE_PROPERTY_EXPLICIT),
        SD_BUS_VTABLE_END,
};

static int find_region(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
                       sd_bus_error *error) {
        _cleanup_(freep) char *name = NULL;
        int k;

        k = sd_bus_path_decode(path, BUS_REGION_PATH, &name);
        if (k <= 0)
                return k;
        *ret = fake_region_find(userdata, name);
        return *ret ? 1 : 0;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error) {
        Fake *f = userdata;
        char **paths;
        size_t i, n = 0;

        paths = calloc(FAKE_REGIONS_MAX + 1, sizeof(*paths));
        if (!paths)
                return -ENOMEM;
        for (i = 0; i < FAKE_REGIONS_MAX; i++)
                if (f->regions[i] && sd_bus_path_encode(BUS_REGION_PATH, f->regions[i]->name, paths + n) >= 0)
                        n++;
        *ret = paths;
        return 0;
}

int main(int argc, char *argv[]) {
        static Fake f;
        int k;

        if (argc != 2)
                return 2;
        f.dir = argv[1];
        f.next_address = FAKE_BASE;

        k = sd_event_default(&f.event);
        if (k >= 0)
                k = sd_bus_open_system(&f.bus);
        if (k >= 0)
                k = sd_bus_attach_event(f.bus, f.event, 0);
        if (k >= 0)
                k = sd_bus_add_filter(f.bus, NULL, garble, NULL);
        if (k >= 0)
                k = sd_bus_add_object_vtable(f.bus, NULL, BUS_PATH, BUS_MANAGER_INTERFACE, manager_vtable, &f);
        if (k >= 0)
                k = sd_bus_add_fallback_vtable(f.bus, NULL, BUS_REGION_PATH, BUS_REGION_INTERFACE, region_vtable,
                                               find_region, &f);
        if (k >= 0)
                k = sd_bus_add_object_manager(f.bus, NULL, BUS_PATH);
        if (k >= 0)
                k = sd_bus_add_node_enumerator(f.bus, NULL, BUS_REGION_PATH, enumerate, &f);
        if (k >= 0)
                k = sd_bus_request_name(f.bus, BUS_NAME, 0);
        if (k < 0) {
                (void) fprintf(stderr, "fake-broker: %s\n", strerror(-k));
                return 1;
        }

        (void) puts("ready");
        (void) fflush(stdout);
        k = sd_event_loop(f.event);
        return k < 0 ? 1 : 0;
}
