/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Suspensions: a region has mode 0 while a process populates it. If that process is killed, the region neither stays suspended
 * nor admits more users than before. region-rights.c checks the rights. It knows no messages.
 */

#include <errno.h>
#include <inttypes.h>

#include "basic/messages.h"
#include "core/answer.h"
#include "core/holder.h"
#include "core/manager-follow.h"
#include "core/region-rights.h"
#include "core/suspension.h"
#include "errors.h"

/* Save the state before the change, so that the next run knows what to do if this one ends in between. */
static int begin(Region *region, Call *call, uint32_t final_mode, sd_bus_error *error) {
        RegionRecord *rec = &region->record, before = *rec;
        _cleanup_(freep) char *holder = NULL;
        int r;

        if (!rec->holder) {
                r = region_plain_mode(region, &rec->before_mode);
                if (r < 0)
                        return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                                 "Cannot read the access list of region '%s': %s", rec->name,
                                                 strerror(-r));
                holder = holder_new(region->manager, call);
                if (!holder)
                        return -ENOMEM;
                rec->holder = holder;
                rec->has_before = true;
                rec->before_uid = rec->uid;
                rec->before_gid = rec->gid;
        }
        rec->final_mode = final_mode;
        rec->mode = 0;
        r = region_save(region);
        if (r < 0) {
                *rec = before;
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot save the state of region '%s': %s",
                                         rec->name, strerror(-r));
        }
        rec->mode = before.mode;
        r = region_change_mode(region, call, 0, error);
        if (r < 0) {
                *rec = before;
                holder_save(region);
                return r;
        }
        TAKE_PTR(holder);
        return 0;
}

int region_suspend(Region *region, Call *call, uint32_t final_mode, sd_bus_error *error) {
        const char *name = region->record.name;
        int r;

        if (final_mode & ~0777u || final_mode == 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Invalid final mode %#" PRIo32 ": expected permission bits, 1 to 0777",
                                         final_mode);
        r = region_authorize_mode(region, call, 0, error);
        if (r <= 0)
                return r;
        /* With two holders, the first to leave would open or remove the region that the other still populates. */
        if (region->record.holder && !holder_is(region, call_sender(call)))
                return sd_bus_error_setf(error, ERROR_REGION_NOT_READY,
                                         "Region '%s' is being populated by another process: wait until that is done, "
                                         "or set its mode",
                                         name);
        r = begin(region, call, final_mode, error);
        if (r < 0)
                return r;
        return manager_follow_change(region->manager, region)
                       ? call_answer(call)
                       : sd_bus_error_setf(error, ERROR_NO_SUCH_REGION, "The region no longer exists");
}

/* The holder has left. */
static void end(Region *region) {
        Manager *m = region->manager;
        RegionRecord *rec = &region->record;
        mode_t mode;
        int r = 0;

        /* creation.c removes the region when the donor has ended. */
        if (!rec->ready) {
                region->deserted = true;
                return;
        }
        /* Its owner may have set the mode in msharefs. */
        region = manager_refresh_region(m, region);
        if (!region || rec->final_mode == 0)
                return;
        if (!rec->has_before) {
                (void) manager_remove_region(m, region, "the process that should have populated it has left the bus",
                                             NULL);
                return;
        }
        mode = rec->before_mode;
        if (rec->uid != rec->before_uid || rec->gid != rec->before_gid)
                r = kernel_chown(&m->kernel, rec->name, rec->before_uid, rec->before_gid);
        if (r >= 0)
                r = region_apply_mode(region, mode);
        /* The region stays closed. As the bus is asked for its holder again, this is tried again. */
        if (r < 0) {
                if (region->end_failed)
                        return;
                region->end_failed = true;
                log_region(
                        &m->log, LOG_ERR, NULL, rec->name,
                        "The process that should have populated region %s has left the bus, but the region's owner and "
                        "mode cannot be set to what they were: %s",
                        rec->name, strerror(-r));
                return;
        }
        log_region(&m->log, LOG_NOTICE, MESSAGE_SUSPENSION_ENDED, rec->name,
                   "The process that should have populated region %s has left the bus: the region has owner %" PRIu32
                   ":%" PRIu32 " and mode %04o again",
                   rec->name, (uint32_t) rec->before_uid, (uint32_t) rec->before_gid, (unsigned) mode);
        region_record_resume(rec);
        region = manager_follow_change(m, region);
        if (region)
                holder_save(region);
}

void suspension_forget(Manager *m, const char *sender) {
        Region *region, *next;

        for (region = LIST_FIRST(&m->regions); region; region = next) {
                next = LIST_NEXT(region, regions);
                if (holder_is(region, sender))
                        end(region);
        }
}

int suspension_load(Manager *m) {
        Region *region, *next;
        size_t n = strlen(m->bus_id);

        for (region = LIST_FIRST(&m->regions); region; region = next) {
                const char *holder = region->record.holder;

                next = LIST_NEXT(region, regions);
                /* A holder that was on an earlier bus has left. */
                if (holder && (strncmp(holder, m->bus_id, n) != 0 || holder[n] != ':'))
                        end(region);
        }
        return holders_look(m);
}
