/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Changes how much of a region's window is mapped. Meanwhile the record has both sizes: up to `size`, the smaller one, the
 * region is mapped in any case; up to `extent`, the larger one, something may be mapped. So if the broker exits, the next one
 * knows what to unmap. Rights and limits have been checked before. It maps nothing itself: the donor does.
 */

#include <errno.h>
#include <inttypes.h>

#include "model/messages.h"
#include "core/announce.h"
#include "core/answer.h"
#include "core/manager.h"
#include "core/resize.h"
#include "errors.h"
#include "kernel/donor.h"

struct Resize {
        Region *region;
        Donor *donor;
        Answer *answer; /* to the call that waits for it, or NULL */
        Actor by;
        uint64_t old_size, old_extent, size; /* bytes: before, and as asked for */
        bool populate, pending;
        bool trim; /* only unmap what is beyond the size: a broker ended meanwhile, or growing failed */
        bool ending;
        sd_bus_error error; /* the answer after trimming */
};

static void answer(Resize *r) {
        if (sd_bus_error_is_set(&r->error))
                answer_error(r->region->manager, TAKE_PTR(r->answer), &r->error);
        else
                answer_done(TAKE_PTR(r->answer));
}

static void resize_done(Resize *r) {
        r->region->resize = NULL;
        donor_free(r->donor);
        if (r->pending)
                users_discharge(&r->region->manager->users, r->by.uid, LIMIT_USER_PENDING, 1);
        actor_done(&r->by);
        answer_drop(r->answer);
        sd_bus_error_free(&r->error);
        free(r);
}

void resize_free(Resize *r) {
        if (!r)
                return;
        if (r->answer && !sd_bus_error_is_set(&r->error))
                (void) sd_bus_error_setf(&r->error, ERROR_NO_SUCH_REGION,
                                         "Region '%s' was removed while it was being resized", r->region->record.name);
        answer(r);
        resize_done(r);
}

void resize_end(Resize *r, uint64_t deadline_usec) {
        /* No answer: the bus reports the broker's exit to the caller. */
        r->answer = answer_drop(r->answer);
        r->ending = true;
        donor_end(r->donor, deadline_usec);
}

/* Writes both sizes, and counts what the region may take now. 0 or negative errno with nothing changed. */
static int set_sizes(Region *region, uint64_t size, uint64_t extent) {
        RegionRecord *rec = &region->record;
        uint64_t old_size = rec->size, old_extent = rec->extent, held;
        Manager *m = region->manager;
        int r = 0;

        rec->size = size;
        rec->extent = extent > size ? extent : 0;
        held = region_record_held(rec);
        if (held > region->bytes_charged)
                r = users_charge_forced(&m->users, region->payer, LIMIT_USER_BYTES, held - region->bytes_charged);
        if (r < 0) {
                rec->size = old_size;
                rec->extent = old_extent;
                return r;
        }
        r = region_save(region);
        if (r < 0) {
                rec->size = old_size;
                rec->extent = old_extent;
                if (held > region->bytes_charged)
                        users_discharge(&m->users, region->payer, LIMIT_USER_BYTES, held - region->bytes_charged);
                return r;
        }
        if (held < region->bytes_charged)
                users_discharge(&m->users, region->payer, LIMIT_USER_BYTES, region->bytes_charged - held);
        region->bytes_charged = held;
        if (size != old_size)
                region_mark(region, REGION_DIRTY_SIZE);
        return 0;
}

static void error_from_donor(const Resize *r, const DonorResult *res, sd_bus_error *error) {
        static const char *const attempts[_DONOR_STAGE_MAX] = {
                [DONOR_START] = "start",
                [DONOR_NODES] = "use the nodes of its memory policy",
                [DONOR_FILE] = "create more memory",
                [DONOR_MMAP] = "map more memory",
                [DONOR_ADVISE] = "request huge pages for more memory",
                [DONOR_POLICY] = "set its memory policy for more memory",
                [DONOR_MEMORY] = "find enough memory to populate",
                [DONOR_POPULATE] = "populate more memory",
                [DONOR_ATTACH] = "attach to it",
                [DONOR_CUT] = "unmap its end",
        };
        const char *name = r->region->record.name, *attempt = attempts[res->stage];

        if (res->error == 0)
                (void) sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "The process that was resizing region '%s' was killed (out of memory?)", name);
        else if (res->stage == DONOR_MMAP && res->error == EEXIST)
                (void) sd_bus_error_setf(error, ERROR_REGION_BUSY,
                                         "Region '%s' cannot grow to %" PRIu64
                                         " bytes: a process has mapped other memory at byte %" PRIu64
                                         " of the window; see 'msharectl maps'",
                                         name, r->size, res->value);
        else
                (void) sd_bus_error_setf(error, res->error == ENOMEM ? SD_BUS_ERROR_NO_MEMORY : SD_BUS_ERROR_FAILED,
                                         "Region '%s' was not resized to %" PRIu64 " bytes: the donor cannot %s: %s",
                                         name, r->size, attempt ?: "continue", strerror(res->error));
}

static int start_donor(Resize *r);

static void log_untrimmed(const Region *region, int r) {
        log_region(&region->manager->log, LOG_ERR, NULL, region->record.name,
                   "Cannot unmap what is beyond the size of region %s, %" PRIu64
                   " bytes: %s; the next resize or start of the broker tries again",
                   region->record.name, region->record.size, strerror(-r));
}

/* Unmap what is beyond the size, then answer. */
static void start_trim(Resize *r) {
        int k;

        donor_free(r->donor);
        r->donor = NULL;
        r->trim = true;
        k = start_donor(r);
        if (k >= 0)
                return;
        log_untrimmed(r->region, k);
        answer(r);
        resize_done(r);
}

static void fail(Resize *r, const DonorResult *result) {
        Region *region = r->region;
        Manager *m = region->manager;
        int k;

        error_from_donor(r, result, &r->error);
        log_change(&m->log, LOG_NOTICE, NULL, region->record.name, &r->by, "Cannot resize region %s: %s",
                   region->record.name, r->error.message ?: r->error.name);
        if (result->created || result->error == 0) {
                start_trim(r);
                return;
        }
        /* The donor has changed no mapping. */
        k = set_sizes(region, r->old_size, r->old_extent);
        if (k < 0)
                region_log_unsaved(region, k);
        answer(r);
        resize_done(r);
}

static void trimmed(Resize *r, const DonorResult *result) {
        Region *region = r->region;
        int k = result->done ? set_sizes(region, region->record.size, 0) : result->error ? -result->error : -EINTR;

        if (k < 0)
                log_untrimmed(region, k);
        answer(r);
        resize_done(r);
}

static void donor_progress(uint64_t bytes, void *userdata) {
}

static void donor_done(const DonorResult *result, void *userdata) {
        Resize *r = userdata;
        Region *region = r->region;
        Manager *m = region->manager;
        int k;

        if (r->ending) {
                if (result->stays)
                        log_region(&m->log, LOG_WARNING, NULL, region->record.name,
                                   "The process that resizes region %s does not exit; not waiting for it any longer",
                                   region->record.name);
                resize_done(r);
                return;
        }
        if (r->trim) {
                trimmed(r, result);
                return;
        }
        if (!result->done) {
                fail(r, result);
                return;
        }
        k = set_sizes(region, r->size, 0);
        if (k < 0) {
                /*
                 * Without the new state, the next broker would unmap the new part without notice. So unmap it now, with an
                 * error.
                 */
                (void) sd_bus_error_setf(&r->error, SD_BUS_ERROR_FAILED, "Cannot save the state of region '%s': %s",
                                         region->record.name, strerror(-k));
                start_trim(r);
                return;
        }
        log_change(&m->log, LOG_NOTICE, MESSAGE_SIZE_SET, region->record.name, &r->by,
                   "Size of region %s set from %" PRIu64 " to %" PRIu64 " bytes", region->record.name, r->old_size,
                   r->size);
        answer(r);
        resize_done(r);
}

static int start_donor(Resize *r) {
        const RegionRecord *rec = &r->region->record;
        Manager *m = r->region->manager;
        _cleanup_(closep) int fd = -1;
        DonorSpec spec = {
                .name = rec->name,
                .address = rec->address,
                .length = rec->length,
                .size = r->trim ? rec->size : r->size,
                .keep = r->trim ? rec->size : r->old_size,
                .extent = r->trim || r->size < r->old_size ? region_record_held(rec)
                          : r->old_extent > 0              ? r->old_extent
                                                           : r->old_size,
                .backing = rec->backing,
                .hugepages = rec->hugepages,
                .numa = rec->numa,
                .populate = r->populate && !r->trim,
                .lock = m->regions_fd,
        };
        struct stat st;
        int k;

        k = kernel_open_region(&m->kernel, rec->name, true, &fd, &st);
        if (k >= 0 && rec->inode != 0 && st.st_ino != rec->inode)
                k = -ESTALE;
        if (k < 0)
                return k;
        spec.fd = fd;
        return donor_start(m->event, &spec, donor_progress, donor_done, r, &r->donor);
}

static Resize *resize_new(Region *region, uint64_t size) {
        Resize *r = calloc(1, sizeof(*r));

        if (!r)
                return NULL;
        *r = (Resize){
                .region = region,
                .old_size = region->record.size,
                .old_extent = region->record.extent,
                .size = size,
                .by = { .uid = (uid_t) -1 },
        };
        region->resize = r;
        return r;
}

void resize_finish(Region *region) {
        const RegionRecord *rec = &region->record;
        Resize *r;

        if (rec->extent <= rec->size || region->resize)
                return;
        log_region(&region->manager->log, LOG_NOTICE, NULL, rec->name,
                   "Region %s was left in the middle of a resize; unmapping what is beyond %" PRIu64 " bytes",
                   rec->name, rec->size);
        r = resize_new(region, rec->size);
        if (r)
                start_trim(r);
        else
                log_message(&region->manager->log, LOG_ERR, "Out of memory");
}

int resize_start(Region *region, Call *call, const ResizeRequest *request, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        uint64_t held = region_record_held(rec);
        Resize *r;
        int k;

        r = resize_new(region, request->size);
        if (!r)
                return -ENOMEM;
        r->populate = request->populate;
        call_actor(call, &r->by);
        k = call_take_charge(call, error);
        if (k < 0) {
                resize_done(r);
                return k;
        }
        r->pending = true;
        /* Before anything changes in the kernel. */
        k = set_sizes(region, request->size < rec->size ? request->size : rec->size,
                      request->size > held ? request->size : held);
        if (k >= 0) {
                k = start_donor(r);
                if (k < 0)
                        (void) set_sizes(region, r->old_size, r->old_extent);
        }
        if (k < 0) {
                resize_done(r);
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED,
                                         "Cannot start resizing region '%s' to %" PRIu64 " bytes: %s", rec->name,
                                         request->size, strerror(-k));
        }
        r->answer = answer_later(call);
        return 1;
}
