/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Takes over a region that exists already when its unit starts, if that is safe: no other user may have prepared it or stay
 * attached. It may use the bus, and must not create or remove a region.
 */

#include <errno.h>
#include <inttypes.h>

#include "model/messages.h"
#include "model/region-log.h"
#include "errors.h"
#include "kinds.h"
#include "region-populate.h"
#include "region-take.h"

/* Another client, or an earlier start that was killed, is still creating the region. */
static int wait_until_ready(Start *s, const char *path, sd_bus_error *error) {
        int r;

        for (;;) {
                _cleanup_(freep) char *state = NULL;

                r = sd_bus_get_property_string(s->bus, BUS_NAME, path, BUS_REGION_INTERFACE, "State", error, &state);
                if (r < 0)
                        return r;
                if (!streq(state, STATE_CREATING))
                        return 0;
                r = start_wait(s, LOOK_AGAIN_USEC);
                if (r < 0)
                        return r;
                if (s->stopped)
                        return -ECANCELED;
        }
}

/* The region that exists with the declared name. */
typedef struct Existing {
        char *path, *backing, *numa;
        uint64_t size, sharers, writers;
        uint32_t uid, gid, creator, mode, clients, writing_clients;
        bool acl;
} Existing;

static void existing_done(Existing *e) {
        free(e->path);
        free(e->backing);
        free(e->numa);
}

/* NClients also counts leases for reading. */
static int count_writing_clients(sd_bus *bus, const char *name, uint32_t *ret, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *access;
        uint32_t n = 0;
        int r;

        r = client_call(bus, error, &reply, "ListClients", "s", name);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(uusst)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(uusst)", NULL, NULL, NULL, &access, NULL)) > 0)
                n += !streq(access, "r");
        *ret = n;
        return r;
}

static int has_acl(sd_bus *bus, const char *path, bool *ret, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_get_property(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "Acl", error, &reply, "a(suu)");
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(suu)");
        if (r >= 0)
                *ret = sd_bus_message_at_end(reply, 0) == 0;
        return r;
}

/* An older broker does not have this property. Then each sharer may be a writer. */
static int count_writers(sd_bus *bus, Existing *e, sd_bus_error *error) {
        int r;

        r = sd_bus_get_property_trivial(bus, BUS_NAME, e->path, BUS_REGION_INTERFACE, "NWriters", error, 't',
                                        &e->writers);
        if (r >= 0 || !sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_PROPERTY))
                return r;
        sd_bus_error_free(error);
        e->writers = e->sharers;
        return 0;
}

static int look_at(sd_bus *bus, const char *name, Existing *e, sd_bus_error *error) {
        const struct {
                const char *property;
                char type;
                void *ret;
        } numbers[] = {
                { "Size", 't', &e->size },       { "NSharers", 't', &e->sharers }, { "UID", 'u', &e->uid },
                { "Creator", 'u', &e->creator }, { "Mode", 'u', &e->mode },        { "NClients", 'u', &e->clients },
                { "GID", 'u', &e->gid },
        };
        int r;

        r = e->path ? 0 : client_get_path(bus, name, &e->path, error);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(numbers); i++)
                r = sd_bus_get_property_trivial(bus, BUS_NAME, e->path, BUS_REGION_INTERFACE, numbers[i].property,
                                                error, numbers[i].type, numbers[i].ret);
        if (r >= 0)
                r = count_writers(bus, e, error);
        /* At the second look, the mode is 0, which has emptied the list. */
        if (r >= 0 && !e->backing)
                r = has_acl(bus, e->path, &e->acl, error);
        if (r >= 0)
                r = count_writing_clients(bus, name, &e->writing_clients, error);
        if (r < 0 || e->backing)
                return r;
        r = sd_bus_get_property_string(bus, BUS_NAME, e->path, BUS_REGION_INTERFACE, "Backing", error, &e->backing);
        if (r < 0)
                return r;
        r = sd_bus_get_property_string(bus, BUS_NAME, e->path, BUS_REGION_INTERFACE, "NUMA", error, &e->numa);
        if (r >= 0 || !sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_PROPERTY))
                return r;
        /* An older broker without memory policies. */
        sd_bus_error_free(error);
        return free_and_strdup(&e->numa, "default");
}

/*
 * The permission bits that the region gives to users whom the file does not admit. A process of such a user may have opened the
 * region and kept the descriptor. That cannot be seen, and the descriptor is a right that no mode takes back.
 */
static uint32_t admits_others(const Existing *e, const RegionFile *f, const Owner *owner, uint32_t before) {
        uint32_t now = before & 077;

        return now & ~(f->mode & (e->gid == owner->gid ? 077u : 07u));
}

/*
 * The creator or an earlier owner of the region may still be attached and wait for the new owner's data. So a region is taken
 * over only if root or the new owner has created it and has owned it ever since, if it admits no other users than the file
 * does, and if no process can write to it.
 *
 * Processes that can only read it do not matter if owner and mode stay as they are: otherwise each of them could keep the unit
 * from starting. If owner or mode change, a reader may have no right to the region any more. The same holds if the mode admits
 * only the owner: the reader attached before it lost its right.
 *
 * before is the region's mode, which is 0 at the second look.
 */
static int check_takeover(const Existing *e, const RegionFile *f, const Owner *owner, uint32_t before,
                          sd_bus_error *error) {
        bool same = e->uid == owner->uid && e->gid == owner->gid && before == f->mode && (f->mode & 044);
        char creator[32] = "unknown";

        if (e->size != f->size || !streq(e->backing, f->backing ?: "anonymous"))
                return sd_bus_error_setf(error, ERROR_REGION_EXISTS,
                                         "it exists with %" PRIu64 " bytes of backing '%s', but the file says %" PRIu64
                                         " bytes of '%s'; remove it first",
                                         e->size, e->backing, f->size, f->backing ?: "anonymous");
        if (!streq(e->numa, f->numa ?: "default"))
                return sd_bus_error_setf(
                        error, ERROR_REGION_EXISTS,
                        "it exists with the memory policy '%.100s', but the file says '%.100s'; remove "
                        "it first",
                        e->numa, f->numa ?: "default");
        if (e->creator != UINT32_MAX)
                (void) snprintf(creator, sizeof(creator), "user %" PRIu32, e->creator);
        if ((e->uid != 0 && e->uid != owner->uid) || (e->creator != 0 && e->creator != owner->uid))
                return sd_bus_error_setf(
                        error, ERROR_REGION_EXISTS,
                        "it exists, its owner is user %" PRIu32 " and its creator is %s: only a region "
                        "that root or user %" PRIu32 " created and owns is taken over; remove it first",
                        e->uid, creator, owner->uid);
        if (admits_others(e, f, owner, before) != 0 || e->acl)
                return sd_bus_error_setf(
                        error, ERROR_REGION_EXISTS,
                        "it exists with mode %04" PRIo32 ", group %" PRIu32
                        "%s, which admits users that the file does not admit: one of them may still have it open; "
                        "remove it first",
                        before, e->gid, e->acl ? " and an access list" : "");
        if (e->writing_clients > 0 || e->writers > 0)
                return sd_bus_error_setf(error, ERROR_REGION_BUSY,
                                         "it exists and is in use, with %" PRIu32 " client%s and %" PRIu64
                                         " process%s attached: only an unused region is taken over",
                                         e->clients, e->clients == 1 ? "" : "s", e->sharers,
                                         e->sharers == 1 ? "" : "es");
        if ((e->clients > 0 || e->sharers > 0) && !same)
                return sd_bus_error_setf(
                        error, ERROR_REGION_BUSY,
                        "it exists and is in use by readers (clients: %" PRIu32 ", processes: %" PRIu64
                        ") that may have lost their right to it, because its owner or mode is not what the file says or "
                        "admits only the owner; remove it first",
                        e->clients, e->sharers);
        return 0;
}

/*
 * With mode 0 no process can attach. A server that tries meanwhile gets the error RegionNotReady. Returns 1 if the broker will
 * restore owner and mode when this process ends before it has set a mode. Returns 0 if the caller must restore them.
 */
static int suspend(sd_bus *bus, const char *name, const RegionFile *f, sd_bus_error *error) {
        int r;

        if (f->mode != 0) {
                r = client_call(bus, error, NULL, "SuspendRegion", "su", name, (uint32_t) f->mode);
                if (r >= 0)
                        return 1;
                if (!sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_METHOD))
                        return r;
                /* An older broker does not have this method. */
                sd_bus_error_free(error);
        }
        r = client_call(bus, error, NULL, "SetRegionMode", "su", name, 0);
        return r < 0 ? r : 0;
}

static void give_back(sd_bus *bus, const char *name, const Existing *e, uint32_t mode) {
        (void) client_call(bus, NULL, NULL, "SetRegionOwner", "suu", name, e->uid, e->gid);
        (void) client_call(bus, NULL, NULL, "SetRegionMode", "su", name, mode);
}

/*
 * An earlier start may have been killed while it populated the region. Pages that exist keep their content. The owner is set
 * first, so that the broker knows which users the region will admit.
 */
static int populate(Start *s, const char *name, const Existing *e, const RegionFile *f, const Owner *owner,
                    bool writable, sd_bus_error *error) {
        const PopulateRequest request = {
                .name = name,
                .path = e->path,
                .file = f,
                .to = f->size,
                .writable = writable,
                .suspended = true,
        };
        int r;

        r = client_call(s->bus, error, NULL, "SetRegionOwner", "suu", name, owner->uid, owner->gid);
        return r < 0 ? r : region_populate(s, &request, error);
}

/* The region exists: an earlier run of the unit has left it, or an administrator has created it. */
int start_take_existing(Start *s, const char *name, const RegionFile *f, const Owner *owner, bool writable,
                        sd_bus_error *error) {
        _cleanup_(existing_done) Existing e = {};
        bool broker_gives_back;
        sd_bus *bus = s->bus;
        uint32_t before;
        Log log;
        int r;

        s->reply = sd_bus_message_unref(s->reply);
        r = client_get_path(bus, name, &e.path, error);
        if (r >= 0)
                r = wait_until_ready(s, e.path, error);
        if (r >= 0)
                r = look_at(bus, name, &e, error);
        if (r >= 0)
                r = check_takeover(&e, f, owner, e.mode, error);
        if (r < 0)
                return r;
        /* No process may attach between this check and the next. */
        before = e.mode;
        r = suspend(bus, name, f, error);
        if (r < 0)
                return r;
        broker_gives_back = r > 0;
        r = look_at(bus, name, &e, error);
        if (r >= 0)
                r = check_takeover(&e, f, owner, before, error);
        if (r >= 0 && f->populate)
                r = populate(s, name, &e, f, owner, writable, error);
        if (r >= 0)
                r = client_apply(bus, name, e.path, f->mode, owner, error);
        if (r < 0) {
                if (!broker_gives_back)
                        give_back(bus, name, &e, before);
                return r;
        }
        log_init(&log, "mshare-region", LOG_INFO);
        log_region(&log, LOG_NOTICE, MESSAGE_REGION_TAKEN_OVER, name,
                   "Region %s exists, created by user %" PRIu32 " and owned by user %" PRIu32
                   "; it is taken over for user %" PRIu32 ", with its content",
                   name, e.creator, e.uid, owner->uid);
        return 0;
}
