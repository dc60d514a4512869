/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Suspensions: a region has mode 0 while a process populates it. If that process is killed, the region neither stays suspended
 * nor admits more users than before. region-rights.c checks the rights. It knows no messages.
 */

#include <errno.h>
#include <inttypes.h>

#include "model/messages.h"
#include "core/answer.h"
#include "core/holder.h"
#include "core/manager-follow.h"
#include "core/region-rights.h"
#include "core/suspension.h"
#include "errors.h"

/* How often suspensions are looked at. */
#define LOOK_USEC (10 * USEC_PER_SEC)

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) suspension_look(userdata);
        return 0;
}

int suspension_watch(Manager *m) {
        int r = 0;

        if (!m->holders_source)
                r = sd_event_add_time_relative(m->event, &m->holders_source, CLOCK_MONOTONIC, LOOK_USEC, LOOK_USEC / 10,
                                               on_time, m);
        else if (sd_event_source_get_enabled(m->holders_source, NULL) == 0)
                r = sd_event_source_set_time_relative(m->holders_source, LOOK_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(m->holders_source, SD_EVENT_ONESHOT);
}

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
                if (!holder || suspension_watch(region->manager) < 0)
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
                region_save_or_log(region);
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

/* Ends a suspension whose holder has left. */
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
                (void) manager_remove_region(m, region, "the process that was populating it has left the bus", NULL);
                return;
        }
        mode = rec->before_mode;
        if (rec->uid != rec->before_uid || rec->gid != rec->before_gid)
                r = kernel_chown(&m->kernel, rec->name, rec->before_uid, rec->before_gid);
        if (r >= 0)
                r = region_apply_mode(region, mode);
        /* The region stays closed, and suspension_look() tries again. The owner may have been set already. */
        if (r < 0) {
                region = manager_follow_change(m, region);
                if (!region || region->end_failed)
                        return;
                region->end_failed = true;
                log_region(
                        &m->log, LOG_ERR, NULL, rec->name,
                        "Cannot restore owner and mode of region %s after the process that was populating it has left "
                        "the bus: %s",
                        rec->name, strerror(-r));
                return;
        }
        /* The owner can suspend it and leave all the time. */
        if (log_has_room(&m->log, rec->before_uid))
                log_region(&m->log, LOG_NOTICE, MESSAGE_SUSPENSION_ENDED, rec->name,
                           "The process that was populating region %s has left the bus: the region now has owner "
                           "%" PRIu32 ":%" PRIu32 " and mode %04o",
                           rec->name, (uint32_t) rec->before_uid, (uint32_t) rec->before_gid, (unsigned) mode);
        region_record_resume(rec);
        region = manager_follow_change(m, region);
        if (region)
                region_save_or_log(region);
}

void suspension_forget(Manager *m, const char *sender) {
        Region *region, *next;

        for (region = LIST_FIRST(&m->regions); region; region = next) {
                next = LIST_NEXT(region, regions);
                if (holder_is(region, sender))
                        end(region);
        }
}

/* Logs once why the region stays closed, because its users must be able to find out. */
static void tell(Region *region, const char *why) {
        if (region->holder_told)
                return;
        region->holder_told = true;
        log_region(&region->manager->log, LOG_WARNING, NULL, region->record.name,
                   "Cannot find out whether the process that populates region %s still exists: %s; keeping the region "
                   "closed and asking the bus every %d s",
                   region->record.name, why, (int) (LOOK_USEC / USEC_PER_SEC));
}

static void ask_for(Region *region, const char *sender) {
        int r = callers_look_for(region->manager->callers, sender);

        if (r < 0)
                tell(region, strerror(-r));
        else if (r == 0 && region->holder_asked)
                tell(region, "no answer");
        region->holder_asked = true;
}

int suspension_look(Manager *m) {
        Region *region, *next;

        for (region = LIST_FIRST(&m->regions); region; region = next) {
                const char *sender = holder_sender(region);

                next = LIST_NEXT(region, regions);
                if (sender)
                        ask_for(region, sender);
                else if (region->record.holder)
                        /* It was on an earlier bus, so it has left. */
                        end(region);
        }
        LIST_FOREACH(region, &m->regions, regions)
                if (region->record.holder)
                        return suspension_watch(m);
        return 0;
}
