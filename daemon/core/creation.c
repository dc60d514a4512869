/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Creates a region that is in the table already: starts the donor, and gives the region to its owner when the donor has
 * finished. A creation that fails leaves nothing behind. Rights and limits have been checked before.
 */

#include <errno.h>
#include <inttypes.h>

#include "model/messages.h"
#include "core/announce.h"
#include "core/answer.h"
#include "core/creation-failure.h"
#include "core/creation.h"
#include "core/manager.h"
#include "errors.h"
#include "kernel/donor.h"

/* The creation of a region, from the start of the donor to the answer. */
struct Creation {
        Region *region;
        Donor *donor;
        Answer *answer; /* to the call that waits for it; NULL if the broker exits */
        Answer *removed; /* to the call that has cancelled it */
        Actor by;
        bool charged;
        bool address_chosen; /* by the broker, not by the caller */
};

void creation_free(Creation *c) {
        Manager *m;

        if (!c)
                return;
        m = c->region->manager;
        donor_free(c->donor);
        if (c->charged)
                users_discharge(&m->users, c->by.uid, LIMIT_USER_PENDING, 1);
        actor_done(&c->by);
        answer_drop(c->answer);
        answer_drop(c->removed);
        free(c);
}

void creation_end(Creation *c, uint64_t deadline_usec) {
        /* No answer: the bus reports the broker's exit to the caller, which can then ask the next broker. */
        c->answer = answer_drop(c->answer);
        donor_end(c->donor, deadline_usec);
}

int creation_cancel(Creation *c, Call *call) {
        if (c->removed)
                return -EALREADY;
        c->removed = answer_later(call);
        /* The rest is done when the process has exited: until then it may still create the name. */
        donor_kill(c->donor);
        return 1;
}

/* Whether the name still belongs to a region with this window: root may have unlinked it and created another region. */
static bool has_our_window(const RegionRecord *record, const KernelRegion *k) {
        return k->address == record->address && k->length == record->length;
}

bool creation_is_unfinished(const KernelRegion *k) {
        return (k->st.st_mode & 0777) == 0 && k->st.st_uid == geteuid();
}

static void unlink_ours(Manager *m, const RegionRecord *record) {
        KernelRegion k;

        /* If it cannot be read, assume that it is the region of this creation. */
        if (kernel_read_region(&m->kernel, record->name, &k) < 0 || has_our_window(record, &k))
                (void) kernel_unlink(&m->kernel, record->name);
}

/* Remove all traces of a region that could not be created. Frees region and creation. */
static void roll_back(Region *region, bool created, const sd_bus_error *error) {
        Answer *answer = TAKE_PTR(region->creation->answer), *removed = TAKE_PTR(region->creation->removed);
        Manager *m = region->manager;

        log_change(&m->log, LOG_NOTICE, MESSAGE_REGION_FAILED, region->record.name, &region->creation->by,
                   "Cannot create region %s: %s", region->record.name, error->message ?: error->name);
        if (created)
                unlink_ours(m, &region->record);
        manager_announce_end(m, region->path);
        region_forget(region);
        /* Answer last: after the answer, the caller must find nothing. */
        answer_error(m, answer, error);
        answer_done(removed);
        manager_mark(m, MANAGER_DIRTY_REGIONS);
}

static int changed_by_others(const RegionRecord *record, sd_bus_error *error) {
        return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                 "Region '%s' was changed by another process while it was being created", record->name);
}

/*
 * The mode stays 0 until the owner is set, so that no other user can attach in between. Before and after that, check that the
 * name still belongs to the region that this broker created.
 */
static int hand_over(Region *region, sd_bus_error *error) {
        Manager *m = region->manager;
        RegionRecord *record = &region->record;
        KernelRegion k;
        int r;

        r = kernel_read_region(&m->kernel, record->name, &k);
        if (r >= 0 && !(has_our_window(record, &k) && creation_is_unfinished(&k)))
                return changed_by_others(record, error);
        if (r >= 0 && (k.st.st_uid != record->uid || k.st.st_gid != record->gid))
                r = kernel_chown(&m->kernel, record->name, record->uid, record->gid);
        if (r >= 0)
                r = kernel_chmod(&m->kernel, record->name, record->mode);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "Cannot give region '%s' to %" PRIu32 ":%" PRIu32 " with mode %#o: %s",
                                         record->name, (uint32_t) record->uid, (uint32_t) record->gid,
                                         (unsigned) record->mode, strerror(-r));
        record->inode = k.st.st_ino;
        r = kernel_read_region(&m->kernel, record->name, &k);
        if (r < 0 || k.st.st_ino != record->inode || k.st.st_uid != record->uid || k.st.st_gid != record->gid ||
            (k.st.st_mode & 0777) != record->mode || !has_our_window(record, &k) || k.read_only)
                return changed_by_others(record, error);
        record->ready = true;
        r = region_save(region);
        if (r < 0) {
                record->ready = false;
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "Cannot save the state of region '%s': %s",
                                         record->name, strerror(-r));
        }
        return 0;
}

static void donor_progress(uint64_t bytes, void *userdata) {
        Creation *c = userdata;

        c->region->progress = (double) bytes / (double) c->region->record.size;
        region_mark(c->region, REGION_DIRTY_PROGRESS);
}

static void donor_done(const DonorResult *result, void *userdata) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Creation *c = userdata;
        Region *region = c->region;
        Manager *m = region->manager;
        bool created = result->created;

        if (!result->done || c->removed) {
                if (!c->answer)
                        (void) sd_bus_error_setf(&error, SD_BUS_ERROR_FAILED, "The broker was stopped%s",
                                                 result->stays ? ", and the donor does not exit" : "");
                else if (c->removed)
                        (void) sd_bus_error_setf(&error, ERROR_NO_SUCH_REGION,
                                                 "Region '%s' was removed while it was being created",
                                                 region->record.name);
                else
                        creation_failure(&region->record, c->address_chosen, result, &error);
                /*
                 * The donor may have been killed after it created the region and before it reported that. Then mode 0 and the
                 * broker's uid identify the region.
                 */
                if (!created && result->error == 0) {
                        KernelRegion k;

                        created = kernel_read_region(&m->kernel, region->record.name, &k) >= 0 &&
                                  creation_is_unfinished(&k);
                }
                roll_back(region, created, &error);
                return;
        }
        if (region->deserted)
                (void) sd_bus_error_setf(&error, SD_BUS_ERROR_FAILED,
                                         "The process that was populating region '%s' has left the bus",
                                         region->record.name);
        if (region->deserted || hand_over(region, &error) < 0) {
                roll_back(region, true, &error);
                return;
        }
        region->progress = 1;
        log_change(&m->log, LOG_NOTICE, MESSAGE_REGION_CREATED, region->record.name, &c->by,
                   "Region %s created for user %" PRIu32 ", group %" PRIu32 ", with mode %04o: %" PRIu64
                   " bytes of backing '%s' at %#" PRIx64,
                   region->record.name, (uint32_t) region->record.uid, (uint32_t) region->record.gid,
                   (unsigned) region->record.mode, region->record.size, backing_to_string(region->record.backing),
                   region->record.address);
        manager_announce_region(m, region);
        manager_mark(m, MANAGER_DIRTY_REGIONS);
        region_mark(region, REGION_DIRTY_STATE | REGION_DIRTY_PROGRESS);
        answer_created(TAKE_PTR(c->answer), region);
        region->creation = NULL;
        creation_free(c);
}

static int start_donor(Manager *m, Creation *c, const CreateRequest *request) {
        const RegionRecord *record = &c->region->record;
        DonorSpec spec = {
                .name = record->name,
                .address = record->address,
                .length = record->length,
                .size = record->size,
                .backing = record->backing,
                .hugepages = record->hugepages,
                .numa = record->numa,
                .populate = request->populate,
                .fd = request->fd,
                .lock = m->regions_fd,
        };

        return donor_start(m->event, &spec, donor_progress, donor_done, c, &c->donor);
}

int creation_start(Region *region, Call *call, const CreateRequest *request) {
        Manager *m = region->manager;
        Creation *c;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c) {
                users_discharge(&m->users, call_identity(call)->uid, LIMIT_USER_PENDING, 1);
                return -ENOMEM;
        }
        *c = (Creation){ .region = region, .charged = true, .address_chosen = !request->address_set };
        call_actor(call, &c->by);
        region->creation = c;
        /* Save before the kernel knows the name, so that the broker recognizes the region after a crash. */
        r = region_save(region);
        if (r >= 0)
                r = start_donor(m, c, request);
        if (r >= 0)
                c->answer = answer_later(call);
        return r;
}
