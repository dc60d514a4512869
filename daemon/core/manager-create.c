/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Prepares a creation: checks the request and the limits, chooses the action that polkit is asked about, and the address, and
 * enters the region in the table. creation.c does the rest. It creates nothing in the kernel. README.md lists the steps.
 */

#include <errno.h>
#include <inttypes.h>

#include "core/announce.h"
#include "core/creation.h"
#include "core/holder.h"
#include "core/manager-create.h"
#include "core/manager-follow.h"
#include "core/manager.h"
#include "core/region-rights.h"
#include "core/suspension.h"
#include "errors.h"
#include "model/name.h"
#include "policy/actions.h"

/*
 * Overlaps with other regions are checked in take_space(), after the question of permission: the answer reveals their
 * addresses.
 */
static int check_address(Manager *m, const CreateRequest *request, uint64_t length, sd_bus_error *error) {
        uint64_t granule = m->kernel.granule;
        int r;

        if (!request->address_set)
                return 0;
        r = address_check(request->address, length, granule);
        if (r == -EINVAL)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Address %#" PRIx64 " is not a multiple of the granule, %" PRIu64 " bytes",
                                         request->address, granule);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "A window of %" PRIu64 " bytes at address %#" PRIx64
                                         " does not lie between the first granule and the end of user space",
                                         length, request->address);
        return 0;
}

static int take_space(Manager *m, const CreateRequest *request, uint64_t length, uint64_t *ret_address,
                      sd_bus_error *error) {
        _cleanup_(freep) AddressRange *windows = NULL;
        size_t n_all;
        ssize_t n;
        int r;

        n = manager_windows(m, &windows, &n_all);
        if (n < 0)
                return (int) n;
        if (!request->address_set) {
                r = address_pick(windows, n_all, length, m->kernel.granule, manager_random_id(m), ret_address);
                if (r == -ENOSPC)
                        r = address_pick(windows, (size_t) n, length, m->kernel.granule, manager_random_id(m),
                                         ret_address);
                if (r == -ENOSPC)
                        return sd_bus_error_setf(error, ERROR_NO_ADDRESS_SPACE,
                                                 "No window of %" PRIu64 " bytes is free among the default addresses "
                                                 "(windows in use: %zu); remove regions or set 'address'",
                                                 length, (size_t) n);
                return r;
        }
        if (address_conflict(windows, (size_t) n, request->address, length))
                return sd_bus_error_setf(error, ERROR_ADDRESS_IN_USE,
                                         "Address %#" PRIx64 " with %" PRIu64
                                         " bytes overlaps another region's window; "
                                         "omit 'address' to let the broker choose, or set another",
                                         request->address, length);
        *ret_address = request->address;
        return 0;
}

int manager_check_kernel(Manager *m, sd_bus_error *error) {
        if (!m->kernel.supported)
                return sd_bus_error_setf(error, ERROR_KERNEL_UNSUPPORTED, "This kernel has no mshare: " KERNEL_RULE);
        if (kernel_root(&m->kernel) < 0)
                return sd_bus_error_setf(
                        error, ERROR_KERNEL_UNSUPPORTED,
                        "msharefs is not mounted at %s: start sys-fs-mshare.mount, then restart mshared",
                        m->kernel.ops->root());
        return 0;
}

/* The length of the window, in bytes. 0 or -ERANGE. */
static int window_length(const Manager *m, const CreateRequest *request, uint64_t *ret) {
        return address_round_up(request->maximum_set ? request->maximum : request->size, m->kernel.granule, ret);
}

/* Checks everything that can be checked before polkit is asked. 0, or negative errno with *error set. */
static int check_request(Manager *m, const CreateRequest *request, sd_bus_error *error) {
        Region *region;
        uint64_t length;
        int r;

        if (!region_name_is_valid(request->name))
                return sd_bus_error_setf(error, ERROR_INVALID_NAME, "Invalid region name '%.300s': " REGION_NAME_RULE,
                                         request->name);
        if (request->mode & ~0777u)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Invalid mode %#o: expected permission bits, 0 to 0777",
                                         (unsigned) request->mode);
        if (request->size == 0)
                return sd_bus_error_setf(error, ERROR_INVALID_SIZE, "Invalid size of 0 bytes: expected at least 1");
        r = create_request_check(request, error);
        if (r < 0)
                return r;
        r = manager_check_kernel(m, error);
        if (r < 0)
                return r;
        region = manager_find_region(m, request->name);
        if (region)
                region = manager_refresh_region(m, region);
        if (region)
                return sd_bus_error_setf(error, ERROR_REGION_EXISTS, "Region '%s' already exists", request->name);
        if (manager_has_skipped(m, request->name))
                return sd_bus_error_setf(error, ERROR_REGION_EXISTS,
                                         "Region '%s' already exists, but mshared could not read it when it "
                                         "started; see its log",
                                         request->name);
        r = window_length(m, request, &length);
        if (r < 0 || length > ADDRESS_HIGH_END - m->kernel.granule)
                return sd_bus_error_setf(error, ERROR_INVALID_SIZE,
                                         "%" PRIu64 " bytes exceed the address space of a process",
                                         request->maximum_set ? request->maximum : request->size);
        return check_address(m, request, length, error);
}

/*
 * Permission for a new region. Ask only for the strongest action that applies, so that a user has to authenticate once: a
 * caller that is permitted the stronger action is permitted the weaker ones, too.
 */
static int authorize_create(Call *call, const CreateRequest *request, sd_bus_error *error) {
        const Identity *who = call_identity(call);
        const RegionDetails details = {
                .name = request->name,
                .size = request->size,
                .backing = request->backing,
                .mode = request->mode,
                .uid = request->uid != (uid_t) -1 ? request->uid : who->uid,
                .gid = request->gid != (gid_t) -1 ? request->gid : who->gid,
        };
        const char *action = ACTION_CREATE_REGION;

        if (details.uid != who->uid || !identity_in_group(who, details.gid))
                action = ACTION_SET_OWNER;
        else if (request->mode & 077)
                action = ACTION_SET_MODE;
        return authorize_region(call, action, &details, error);
}

/* Checks the limits without charging anything: region_new() does that. */
static int check_limits(Manager *m, uid_t uid, uint64_t size, sd_bus_error *error) {
        const Limits *limits = &m->config.limits;
        uint64_t bytes = users_count(&m->users, uid, LIMIT_USER_BYTES), mine;

        if (m->n_regions >= limits->max[LIMIT_REGIONS])
                return manager_limit_reached(m, LIMIT_REGIONS, error);
        if (uid == 0)
                return 0;
        mine = users_count(&m->users, uid, LIMIT_USER_REGIONS);
        if (mine >= limits->max[LIMIT_USER_REGIONS])
                return manager_limit_reached(m, LIMIT_USER_REGIONS, error);
        /* Root's declared regions must find room, too. */
        if (!share_is_left(mine, m->n_regions - mine, limits->max[LIMIT_REGIONS]))
                return sd_bus_error_setf(
                        error, ERROR_LIMIT_EXCEEDED,
                        "User %" PRIu32 " has reached its share of regions: %" PRIu64
                        ", with %u in all; a user may create at most half of what others leave of %" PRIu64
                        "; see %s= in mshared.conf",
                        (uint32_t) uid, mine, m->n_regions, limits->max[LIMIT_REGIONS], limit_name(LIMIT_REGIONS));
        if (bytes > limits->max[LIMIT_USER_BYTES] || size > limits->max[LIMIT_USER_BYTES] - bytes)
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "Limit reached, %s: %" PRIu64 ", in use: %" PRIu64 ", requested: %" PRIu64
                                         "; see %s= in mshared.conf",
                                         limit_meaning(LIMIT_USER_BYTES), limits->max[LIMIT_USER_BYTES], bytes, size,
                                         limit_name(LIMIT_USER_BYTES));
        return 0;
}

/*
 * The default addresses are enough for a few windows of the largest size. So a user's windows take at most half of what the
 * windows of others leave. Whole windows count, not only the bytes that are mapped.
 */
static int check_windows(Manager *m, uid_t uid, uint64_t length, sd_bus_error *error) {
        uint64_t all = address_default_size(), mine = 0, others = 0;
        Region *region;

        if (uid == 0)
                return 0;
        LIST_FOREACH(region, &m->regions, regions) {
                const RegionRecord *record = &region->record;

                if (region->payer == uid)
                        mine += record->length;
                else
                        others += address_default_part(record->address, record->length);
        }
        if (share_is_left(mine + length, others, all))
                return 0;
        return sd_bus_error_setf(error, ERROR_NO_ADDRESS_SPACE,
                                 "No default addresses left for user %" PRIu32 ": its windows have %" PRIu64
                                 " bytes, and with %" PRIu64
                                 " more they would exceed half of what others leave of %" PRIu64
                                 " bytes; create regions with a smaller size or 'maximum'",
                                 (uint32_t) uid, mine, length, all);
}

/* Creates the region after all questions. Takes name and label out of *request. 1, or negative errno with *error set. */
static int create_permitted(Manager *m, Call *call, CreateRequest *request, sd_bus_error *error) {
        const Identity *who = call_identity(call);
        _cleanup_(region_record_done) RegionRecord record = {
                .id = manager_random_id(m),
                .size = request->size,
                .mode = request->mode,
                .final_mode = request->final_mode,
                .uid = request->uid != (uid_t) -1 ? request->uid : who->uid,
                .gid = request->gid != (gid_t) -1 ? request->gid : who->gid,
                .creator = who->uid,
                .backing = request->backing,
                .hugepages = request->hugepages,
                .numa = request->numa,
                .lifetime = request->lifetime,
                .linger_usec = request->linger_usec,
                .created_usec = usec_now(CLOCK_REALTIME),
                .name = TAKE_PTR(request->name),
                .label = TAKE_PTR(request->label),
        };
        Region *region;
        int r;

        r = check_limits(m, who->uid, record.size, error);
        if (r < 0)
                return r;
        r = window_length(m, request, &record.length);
        if (r >= 0)
                r = check_windows(m, who->uid, record.length, error);
        if (r >= 0)
                r = take_space(m, request, record.length, &record.address, error);
        if (r < 0)
                return r;
        if (record.final_mode != 0) {
                record.holder = holder_new(m, call);
                if (!record.holder || suspension_watch(m) < 0)
                        return -ENOMEM;
        }
        r = call_take_charge(call, error);
        if (r < 0)
                return r;
        r = region_new(m, &record, &region);
        if (r < 0) {
                users_discharge(&m->users, who->uid, LIMIT_USER_PENDING, 1);
                return r;
        }
        r = creation_start(region, call, request);
        if (r < 0) {
                r = sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot start creating region '%s': %s",
                                      region->record.name, strerror(-r));
                region_forget(region);
                return r;
        }
        manager_mark(m, MANAGER_DIRTY_REGIONS);
        return 1;
}

int manager_create_region(Manager *m, Call *call, CreateRequest *request, sd_bus_error *error) {
        int r;

        r = check_request(m, request, error);
        if (r < 0)
                return r;
        r = authorize_create(call, request, error);
        return r <= 0 ? r : create_permitted(m, call, request, error);
}
