/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Mode, owner and access list of a region, and the checks of rights that other operations use. It asks polkit through
 * calls/authz.h, and knows no messages.
 */

#include <errno.h>
#include <inttypes.h>

#include "model/messages.h"
#include "core/answer.h"
#include "core/holder.h"
#include "core/manager-follow.h"
#include "core/manager.h"
#include "core/region-rights.h"
#include "errors.h"
#include "policy/actions.h"
#include "policy/acl.h"

RegionDetails region_details(const RegionRecord *record) {
        return (RegionDetails){
                .id = record->id,
                .name = record->name,
                .size = record->size,
                .backing = record->backing,
                .mode = record->mode,
                .uid = record->uid,
                .gid = record->gid,
        };
}

int authorize_region(Call *call, const char *action, const RegionDetails *details, sd_bus_error *error) {
        char mode[8], uid[16], gid[16], size[24];
        const char *const texts[] = {
                "region", details->name, "mode", mode, "owner",   uid,
                "group",  gid,           "size", size, "backing", backing_to_string(details->backing),
                NULL,
        };

        (void) snprintf(mode, sizeof(mode), "%04o", (unsigned) details->mode);
        (void) snprintf(uid, sizeof(uid), "%" PRIu32, (uint32_t) details->uid);
        (void) snprintf(gid, sizeof(gid), "%" PRIu32, (uint32_t) details->gid);
        (void) snprintf(size, sizeof(size), "%" PRIu64, details->size);
        return call_authorize(call, action, details->id, texts, error);
}

static bool admits(const Region *region, const Identity *who, Access access, uid_t uid, gid_t gid, mode_t mode) {
        int r;

        if (!region->record.ready)
                return access_by_mode(who, access, uid, gid, mode);
        r = acl_check(region_dir(region), region->record.name, who, uid, gid, access);
        if (r >= 0)
                return r;
        /* If the file has a list, the group bits of its mode are the list's mask and say nothing about the group. */
        if (!acl_is_missing(r) && who->uid != uid)
                return false;
        return access_by_mode(who, access, uid, gid, mode);
}

bool region_admits(const Region *region, const Identity *who, Access access) {
        const RegionRecord *record = &region->record;

        return admits(region, who, access, record->uid, record->gid, record->mode);
}

bool region_admits_now(const Region *region, const Identity *who, Access access, const struct stat *st) {
        return admits(region, who, access, st->st_uid, st->st_gid, st->st_mode & 0777);
}

bool region_shows_address(const Region *region, const Identity *who) {
        return who->uid == region->record.uid || region_admits(region, who, ACCESS_READ);
}

bool region_will_admit(const Region *region, const Identity *who, Access access) {
        const RegionRecord *record = &region->record;

        if (record->final_mode == 0)
                return region_admits(region, who, access);
        return access_by_mode(who, access, record->uid, record->gid, record->final_mode);
}

int region_grant(Region *region, Call *call, Access access, AclBackup *ret_backup, sd_bus_error *error) {
        const Identity *who = call_identity(call);
        const RegionRecord *rec = &region->record;
        _cleanup_(actor_done) Actor by = {};
        int r;

        /* For the owner, the kernel checks only the owner's bits and not the list. */
        if (who->uid == rec->uid)
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Mode %#o of region '%s' does not admit its owner, user %" PRIu32
                                         ", and polkit cannot change that; the owner can set the mode",
                                         (unsigned) rec->mode, rec->name, (uint32_t) who->uid);
        r = acl_save(region_dir(region), rec->name, ret_backup);
        if (r >= 0)
                r = acl_grant_user(region_dir(region), rec->name, who->uid, access);
        if (r == -EOPNOTSUPP)
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Cannot admit user %" PRIu32 " to region '%s', mode %#o: polkit permits it, "
                                         "but this kernel's msharefs has no access lists",
                                         (uint32_t) who->uid, rec->name, (unsigned) rec->mode);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "Cannot add user %" PRIu32 " to the access list of region '%s': %s",
                                         (uint32_t) who->uid, rec->name, strerror(-r));
        call_actor(call, &by);
        log_change(&region->manager->log, LOG_NOTICE, MESSAGE_ACCESS_GRANTED, rec->name, &by,
                   "User %" PRIu32 " is admitted to region %s, access '%s', because polkit permits it",
                   (uint32_t) who->uid, rec->name, access_to_string(access));
        return 0;
}

void region_undo_grant(Region *region, Call *call, const AclBackup *backup) {
        const RegionRecord *rec = &region->record;
        _cleanup_(actor_done) Actor by = {};
        int r;

        r = acl_restore(region_dir(region), rec->name, backup);
        call_actor(call, &by);
        if (r < 0)
                log_change(&region->manager->log, LOG_ERR, NULL, rec->name, &by,
                           "Cannot remove user %" PRIu32
                           " from the access list of region %s after creating a lease failed: %s",
                           (uint32_t) by.uid, rec->name, strerror(-r));
        else
                log_change(&region->manager->log, LOG_NOTICE, MESSAGE_ACCESS_REVOKED, rec->name, &by,
                           "User %" PRIu32 " got no lease of region %s and is no longer admitted", (uint32_t) by.uid,
                           rec->name);
}

static int check_ready(const Region *region, sd_bus_error *error) {
        if (region->record.ready)
                return 0;
        return sd_bus_error_setf(error, ERROR_REGION_NOT_READY, "Region '%s' is still being created (%.0f %%)",
                                 region->record.name, region->progress * 100);
}

int region_check_ready(const Region *region, sd_bus_error *error) {
        const RegionRecord *record = &region->record;
        int r;

        r = check_ready(region, error);
        if (r < 0 || record->final_mode == 0)
                return r;
        return sd_bus_error_setf(error, ERROR_REGION_NOT_READY,
                                 "Region '%s' is being populated: no process can attach until that is done and its "
                                 "mode is set to %04o",
                                 record->name, (unsigned) record->final_mode);
}

/* Updates the record after a change in the kernel. The region may have been removed by then. */
static int follow(Region *region, Region **ret, sd_bus_error *error) {
        _cleanup_(freep) char *name = strdup(region->record.name);

        *ret = manager_follow_change(region->manager, region);
        if (!*ret)
                return sd_bus_error_setf(error, ERROR_NO_SUCH_REGION, "Region '%s' no longer exists", name ?: "");
        return 0;
}

static int changed(Region *region, Call *call, sd_bus_error *error) {
        int r = follow(region, &region, error);

        return r < 0 ? r : call_answer(call);
}

/* Whether that mode gives group or others a right that they do not have now. */
static bool admits_more(const Region *region, mode_t mode) {
        mode_t now = region->record.mode, plain;
        int r;

        if (region->record.ready) {
                r = acl_plain_mode(region_dir(region), region->record.name, &plain);
                if (r >= 0)
                        now = plain;
                else if (!acl_is_missing(r))
                        now = 0;
        }
        return mode & 077 & ~now;
}

int region_authorize_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error) {
        RegionDetails details = region_details(&region->record);
        int r = 1;

        details.mode = mode;
        if (call_identity(call)->uid != details.uid || admits_more(region, mode))
                r = authorize_region(call, ACTION_SET_MODE, &details, error);
        if (r <= 0)
                return r;
        r = check_ready(region, error);
        return r < 0 ? r : 1;
}

int region_change_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        _cleanup_(actor_done) Actor by = {};
        int r;

        r = region_apply_mode(region, mode);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot set mode %#" PRIo32 " of region '%s': %s",
                                         mode, rec->name, strerror(-r));
        call_actor(call, &by);
        log_change(&region->manager->log, LOG_NOTICE, MESSAGE_MODE_SET, rec->name, &by,
                   "Mode of region %s set from %04o to %04o", rec->name, (unsigned) rec->mode, (unsigned) mode);
        return 0;
}

int region_set_mode(Region *region, Call *call, uint32_t mode, sd_bus_error *error) {
        int r;

        if (mode & ~0777u)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Invalid mode %#" PRIo32 ": expected permission bits, 0 to 0777", mode);
        r = region_authorize_mode(region, call, mode, error);
        if (r <= 0)
                return r;
        r = region_change_mode(region, call, mode, error);
        if (r >= 0)
                r = follow(region, &region, error);
        if (r < 0)
                return r;
        holder_overrule(region, call);
        return call_answer(call);
}

int region_set_owner(Region *region, Call *call, uint32_t uid, uint32_t gid, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        RegionDetails details = region_details(rec);
        _cleanup_(actor_done) Actor by = {};
        int r = 0;

        /* As with chown(2), -1 leaves user or group unchanged. */
        if (uid == UINT32_MAX)
                uid = rec->uid;
        if (gid == UINT32_MAX)
                gid = rec->gid;
        details.uid = uid;
        details.gid = gid;
        r = authorize_region(call, ACTION_SET_OWNER, &details, error);
        if (r <= 0)
                return r;
        r = check_ready(region, error);
        if (r < 0)
                return r;
        /* Reset the mode first, so that users whom the old owner admitted are never admitted to the new owner's region. */
        if (uid != rec->uid || gid != rec->gid)
                r = acl_drop(region_dir(region), rec->name);
        if (r >= 0 || acl_is_missing(r))
                r = kernel_chown(&region->manager->kernel, rec->name, uid, gid);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "Cannot give region '%s' to %" PRIu32 ":%" PRIu32 ": %s", rec->name, uid, gid,
                                         strerror(-r));
        call_actor(call, &by);
        log_change(&region->manager->log, LOG_NOTICE, MESSAGE_OWNER_SET, rec->name, &by,
                   "Owner of region %s set from %" PRIu32 ":%" PRIu32 " to %" PRIu32 ":%" PRIu32, rec->name,
                   (uint32_t) rec->uid, (uint32_t) rec->gid, uid, gid);
        r = follow(region, &region, error);
        if (r < 0)
                return r;
        holder_overrule(region, call);
        return call_answer(call);
}

int region_revoke(Region *region, Call *call, const char *kind, uint32_t id, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        _cleanup_(actor_done) Actor by = {};
        bool group = streq(kind, "group");
        int r;

        if (!group && !streq(kind, "user"))
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Invalid kind '%.100s' of access list entry: expected 'user' or 'group'",
                                         kind);
        if (call_identity(call)->uid != rec->uid) {
                const RegionDetails details = region_details(rec);

                r = authorize_region(call, ACTION_SET_MODE, &details, error);
                if (r <= 0)
                        return r;
        }
        r = check_ready(region, error);
        if (r < 0)
                return r;
        r = acl_revoke(region_dir(region), rec->name, group, id);
        if (r == -ESRCH || acl_is_missing(r))
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "%s %" PRIu32 " is not in the access list of region '%s'",
                                         group ? "Group" : "User", id, rec->name);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "Cannot remove %s %" PRIu32 " from the access list of region '%s': %s", kind,
                                         id, rec->name, strerror(-r));
        call_actor(call, &by);
        log_change(&region->manager->log, LOG_NOTICE, MESSAGE_ACCESS_REVOKED, rec->name, &by,
                   "%s %" PRIu32 " is no longer admitted to region %s", group ? "Group" : "User", id, rec->name);
        return changed(region, call, error);
}

int region_list_grants(const Region *region, AclGrant grants[static ACL_ENTRIES_MAX], size_t *ret) {
        int r;

        *ret = 0;
        if (!region->record.ready)
                return 0;
        r = acl_list(region_dir(region), region->record.name, grants, ACL_ENTRIES_MAX, ret);
        return acl_is_missing(r) || r == -ENOENT ? 0 : r;
}
