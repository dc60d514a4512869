/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Acquires, releases and removes regions, with the checks of rights and limits. Most functions are steps of authz_run() and may
 * run twice for one call. They know no messages.
 */

#include <errno.h>
#include <inttypes.h>

#include "core/announce.h"
#include "core/answer.h"
#include "core/creation.h"
#include "core/manager-create.h"
#include "core/manager-follow.h"
#include "core/manager.h"
#include "core/region-ops.h"
#include "core/region-rights.h"
#include "errors.h"
#include "model/name.h"
#include "policy/actions.h"
#include "policy/acl.h"
#include "policy/descriptors.h"

static int no_such_region(Manager *m, const char *name, sd_bus_error *error) {
        if (!region_name_is_adoptable(name))
                return sd_bus_error_setf(error, ERROR_INVALID_NAME, "Invalid region name '%.300s': " REGION_NAME_RULE,
                                         name);
        /* Without msharefs the region may exist. A kernel without mshare certainly has no region. */
        if (m->kernel.supported && kernel_root(&m->kernel) < 0)
                return manager_check_kernel(m, error);
        return sd_bus_error_setf(error, ERROR_NO_SUCH_REGION, "There is no region '%s'", name);
}

int region_find_for(Manager *m, const char *name, Region **ret, sd_bus_error *error) {
        Region *region = manager_find_region(m, name);

        if (region)
                region = manager_refresh_region(m, region);
        if (!region)
                return no_such_region(m, name, error);
        *ret = region;
        return 0;
}

int region_find_to_acquire(Manager *m, const char *name, Region **ret, sd_bus_error *error) {
        int r = manager_check_kernel(m, error);

        return r < 0 ? r : region_find_for(m, name, ret, error);
}

/* Leases of other users never keep root and the owner out. Any other user gets at most as many leases as the rest leave. */
static int check_lease_limits(Region *region, const Identity *who, sd_bus_error *error) {
        Manager *m = region->manager;
        const Limits *limits = &m->config.limits;
        uint64_t mine = users_count(&region->users, who->uid, LIMIT_USER_LEASES),
                 all_mine = users_count(&m->users, who->uid, LIMIT_USER_LEASES);
        bool stranger = who->uid != 0 && who->uid != region->record.uid;

        if (stranger && !share_is_left(mine, region->n_leases - mine, limits->max[LIMIT_REGION_LEASES]))
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "User %" PRIu32 " has reached its share of leases of region '%s': %" PRIu64
                                         ", with %u in all; a user may have at most half of what others leave of "
                                         "%" PRIu64 "; see %s= in mshared.conf",
                                         (uint32_t) who->uid, region->record.name, mine, region->n_leases,
                                         limits->max[LIMIT_REGION_LEASES], limit_name(LIMIT_REGION_LEASES));
        if (!stranger && mine >= limits->max[LIMIT_REGION_LEASES])
                return manager_limit_reached(m, LIMIT_REGION_LEASES, error);
        if (who->uid != 0 && all_mine >= limits->max[LIMIT_USER_LEASES])
                return manager_limit_reached(m, LIMIT_USER_LEASES, error);
        if (!descriptors_left_for_lease(m->n_leases, all_mine, stranger))
                return sd_bus_error_setf(
                        error, ERROR_LIMIT_EXCEEDED,
                        "The broker has no descriptor left for a lease; leases in all: %u, of which user %" PRIu32
                        " has %" PRIu64 "; see LimitNOFILE= of mshared.service",
                        m->n_leases, (uint32_t) who->uid, all_mine);
        return 0;
}

static int fill_record(Region *region, Call *call, Access access, LeaseRecord *record) {
        const Identity *who = call_identity(call);
        int r;

        *record = (LeaseRecord){
                .region_id = region->record.id,
                .id = manager_random_id(region->manager),
                .uid = who->uid,
                .pid = who->pid,
                .access = access,
                .since_usec = usec_now(CLOCK_REALTIME),
        };
        r = free_and_strdup(&record->sender, call_sender(call));
        return r < 0 ? r : free_and_strdup(&record->unit, who->unit);
}

static int no_lease(const Region *region, int r, sd_bus_error *error) {
        return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot create a lease of region '%s': %s",
                                 region->record.name, strerror(-r));
}

/*
 * A descriptor is a right that no later change of mode takes back, and the broker may open what the caller may not. So check
 * owner and mode of the open file, as the kernel would if the caller opened it at this moment.
 */
static int open_file(Region *region, const Identity *who, Access access, int *ret, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        _cleanup_(closep) int fd = -1;
        struct stat st;
        int r;

        r = kernel_open_region(&region->manager->kernel, rec->name, access == ACCESS_READ_WRITE, &fd, &st);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot open region '%s' for access '%s': %s",
                                         rec->name, access_to_string(access), strerror(-r));
        if (rec->inode != 0 && st.st_ino != rec->inode)
                return sd_bus_error_setf(error, ERROR_NO_SUCH_REGION,
                                         "Region '%s' has been replaced by another of that name; try again", rec->name);
        if (!region_admits_now(region, who, access, &st))
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Region '%s' no longer admits user %" PRIu32 " with access '%s': its owner or "
                                         "mode has just changed",
                                         rec->name, (uint32_t) who->uid, access_to_string(access));
        *ret = TAKE_FD(fd);
        return 0;
}

int region_acquire(Region *region, Call *call, const char *access_text, bool open, sd_bus_error *error) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        _cleanup_(acl_backup_done) AclBackup backup = {};
        _cleanup_(lease_freep) Lease *lease = NULL;
        _cleanup_(closep) int fd = -1, file = -1;
        const Identity *who = call_identity(call);
        Manager *m = region->manager;
        bool permitted = false;
        Access access;
        int r;

        r = access_from_string(access_text);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Invalid access '%.100s': expected " ACCESS_WORDS, access_text);
        access = (Access) r;
        /* Before mode, access list and polkit: the kernel refuses even root. */
        if (access == ACCESS_READ_WRITE && region->read_only)
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Region '%s' was created with O_CREAT|O_RDONLY and is read-only for everyone, "
                                         "whatever its mode: use access 'r'",
                                         region->record.name);
        if (!region_will_admit(region, who, access)) {
                const RegionDetails details = region_details(&region->record);

                r = authorize_region(call, ACTION_ACQUIRE_REGION, &details, error);
                if (r <= 0)
                        return r;
                permitted = true;
        }
        r = region_check_ready(region, error);
        if (r >= 0)
                r = check_lease_limits(region, who, error);
        /* Grant last, so that a caller that is refused for another reason does not stay in the list. */
        if (r >= 0 && permitted)
                r = region_grant(region, call, access, &backup, error);
        if (r < 0)
                return r;
        if (open) {
                r = open_file(region, who, access, &file, error);
                if (r < 0) {
                        if (permitted)
                                region_undo_grant(region, call, &backup);
                        return r;
                }
        }
        r = fill_record(region, call, access, &record);
        if (r >= 0)
                r = lease_new(m->leases_fd, &record, &lease, &fd);
        if (r < 0) {
                if (permitted)
                        region_undo_grant(region, call, &backup);
                return no_lease(region, r, error);
        }
        if (!region->record.leased) {
                region->record.leased = true;
                r = region_save(region);
                /* The next client saves it again. */
                if (r < 0)
                        region->record.leased = false;
        }
        if (r >= 0)
                r = region_add_lease(region, lease);
        if (r >= 0)
                r = call_answer_lease(call, &region->record, fd, file);
        if (r < 0) {
                if (lease->region)
                        region_drop_lease(region, TAKE_PTR(lease));
                else
                        lease_drop(TAKE_PTR(lease), m->leases_fd);
                if (permitted)
                        region_undo_grant(region, call, &backup);
                return no_lease(region, r, error);
        }
        TAKE_PTR(lease);
        manager_announce_client(m, "ClientAcquired", region->record.name, who->uid);
        /* The region is gone after that if its name was unlinked meanwhile. */
        if (permitted)
                (void) manager_follow_change(m, region);
        return 1;
}

void region_release(Region *region, const Identity *who, const char *sender) {
        Lease *lease, *next;

        for (lease = LIST_FIRST(&region->leases); lease && sender && who; lease = next) {
                next = LIST_NEXT(lease, leases);
                /* Compare the user as well: on a new bus, the name may belong to another client. */
                if (lease->record.uid == who->uid && lease->record.sender && streq(lease->record.sender, sender))
                        region_drop_lease(region, lease);
        }
}

int region_check_unused(Region *region, const char *what, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        KernelUsage usage;
        int r;

        if (region->n_leases > 0)
                return sd_bus_error_setf(error, ERROR_REGION_BUSY, "Region '%s' has %u client%s; use 'force' to %s",
                                         rec->name, region->n_leases, region->n_leases == 1 ? "" : "s", what);
        r = kernel_read_usage(&region->manager->kernel, rec->name, &usage);
        if (r < 0 && r != -ENOENT)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot check whether region '%s' is in use: %s",
                                         rec->name, strerror(-r));
        if (r >= 0 && usage.sharers > 0)
                return sd_bus_error_setf(error, ERROR_REGION_BUSY,
                                         "Region '%s' has %" PRIu64
                                         " process%s attached without a lease; use 'force' to %s",
                                         rec->name, usage.sharers, usage.sharers == 1 ? "" : "es", what);
        return 0;
}

int region_remove(Region *region, Call *call, bool force, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        const Identity *who = call_identity(call);
        _cleanup_(actor_done) Actor by = {};
        Manager *m = region->manager;
        int r;

        if (who->uid != rec->uid && !(region->creation && who->uid == rec->creator)) {
                const RegionDetails details = region_details(rec);

                r = authorize_region(call, ACTION_REMOVE_REGION, &details, error);
                if (r <= 0)
                        return r;
        }
        if (region->creation) {
                r = creation_cancel(region->creation, call);
                if (r == -EALREADY)
                        return sd_bus_error_setf(error, ERROR_REGION_NOT_READY, "Region '%s' is already being removed",
                                                 rec->name);
                return r;
        }
        if (!force && region->resize)
                return sd_bus_error_setf(
                        error, ERROR_REGION_BUSY,
                        "Region '%s' is being resized; use 'force' to cancel that and remove the region", rec->name);
        if (!force) {
                r = region_check_unused(
                        region, "remove it nevertheless: they keep their mappings, and new clients are refused", error);
                if (r < 0)
                        return r;
        }
        call_actor(call, &by);
        r = manager_remove_region(m, region, force ? "by force" : "on request", &by);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot unlink region '%s': %s", rec->name,
                                         strerror(-r));
        return call_answer(call);
}
