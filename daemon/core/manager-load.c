/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Restores regions at the start, from their state files and msharefs. Where these differ, the kernel is right.
 * manager-load-leases.c restores the leases. It runs once, before the event loop, and knows no messages.
 */

#include <errno.h>
#include <fcntl.h>

#include "core/creation.h"
#include "core/manager-follow.h"
#include "core/manager-load-leases.h"
#include "core/manager-load.h"
#include "core/manager.h"
#include "core/resize.h"
#include "core/suspension.h"
#include "model/messages.h"
#include "model/name.h"

/* A temporary file of write_file_atomic(), left by a run that was killed before it renamed the file. */
static bool is_temporary(const char *name) {
        return strncmp(name, ".#", 2) == 0;
}

static void drop_state(Manager *m, const char *name) {
        (void) unlinkat(m->regions_fd, name, 0);
}

/* Update a record of an earlier run with what the kernel says. Returns 0 if the record is obsolete. */
static int reconcile(Manager *m, RegionRecord *record, bool *ret_read_only) {
        KernelRegion k;
        unsigned dirty;
        bool closed;
        int r;

        r = kernel_read_region(&m->kernel, record->name, &k);
        if (r == -ENOENT) {
                if (record->ready)
                        log_region(&m->log, LOG_WARNING, MESSAGE_REGION_LOST, record->name,
                                   "Region %s no longer exists; discarding its state", record->name);
                return 0;
        }
        if (r < 0)
                return r;
        if (record->inode != 0 && record->inode != k.st.st_ino) {
                log_region(&m->log, LOG_WARNING, MESSAGE_REGION_LOST, record->name,
                           "Region %s does not match its saved state; discarding the state", record->name);
                return 0;
        }
        closed = (k.st.st_mode & 0777) == 0;
        /* If the state file lacks something, take it from the kernel, as far as the kernel knows it. */
        if (!record->has_ready)
                record->ready = !creation_is_unfinished(&k);
        if (!record->has_created)
                record->created_usec =
                        (uint64_t) k.st.st_ctim.tv_sec * USEC_PER_SEC + (uint64_t) k.st.st_ctim.tv_nsec / 1000;
        if (!record->has_size)
                record->size = k.length;
        if (!record->has_id)
                record->id = manager_random_id(m);
        /* The name may belong to another region now. A region is given to its owner before it gets its mode. */
        if (!record->ready && ((record->has_window && (k.address != record->address || k.length != record->length)) ||
                               (closed && !creation_is_unfinished(&k) && k.st.st_uid != record->uid))) {
                log_region(&m->log, LOG_WARNING, MESSAGE_REGION_LOST, record->name,
                           "Region %s is not the one that was being created; discarding its state", record->name);
                return 0;
        }
        if (!record->ready && closed) {
                log_region(&m->log, LOG_NOTICE, NULL, record->name, "Region %s was left incomplete; removing it",
                           record->name);
                (void) kernel_unlink(&m->kernel, record->name);
                return 0;
        }
        /* A region with a mode is complete: only the last save is missing. */
        record->ready = true;
        record->inode = k.st.st_ino;
        record->address = k.address;
        record->length = k.length;
        if (record->size > record->length)
                record->size = record->length;
        if (record->extent > record->length)
                record->extent = record->length;
        (void) region_record_follow(record, &k.st, &dirty);
        if (dirty & REGION_DIRTY_OWNER && record->has_before && !region_record_has_owner_before(record))
                region_record_overrule(record);
        *ret_read_only = k.read_only;
        return 1;
}

/* Takes *record over. */
static int skip(Manager *m, RegionRecord *record) {
        RegionRecord *v;

        v = realloc(m->skipped, (m->n_skipped + 1) * sizeof(*v));
        if (!v)
                return -ENOMEM;
        m->skipped = v;
        v[m->n_skipped++] = *record;
        *record = (RegionRecord){};
        return 0;
}

static int load_state(const char *name, void *userdata) {
        _cleanup_(region_record_done) RegionRecord record = {};
        _cleanup_(freep) char *text = NULL;
        bool read_only = false, id_is_new;
        Manager *m = userdata;
        const char *reason;
        Region *region;
        int r;

        if (is_temporary(name))
                return 0;
        if (!region_name_is_adoptable(name)) {
                log_message(&m->log, LOG_WARNING, "A state file has an invalid name; removing it");
                drop_state(m, name);
                return 0;
        }
        r = read_file(m->regions_fd, name, STATE_FILE_MAX, &text, NULL);
        if (error_is_passing(r))
                return r;
        reason = r < 0 ? strerror(-r) : "it is damaged, or was written by another version";
        /* If the file cannot be read at all, only the region's name is known. */
        if (r < 0) {
                text = strdup("");
                if (!text)
                        return -ENOMEM;
        }
        r = region_record_parse(text, &record);
        if (r < 0)
                return r;
        if (r > 0 || !streq(record.name, name)) {
                log_region(&m->log, LOG_WARNING, NULL, name,
                           "Cannot use all of the state file of region %s (%s); taking the rest from the kernel", name,
                           reason);
                r = free_and_strdup(&record.name, name);
                if (r < 0)
                        return r;
        }
        id_is_new = !record.has_id;
        r = reconcile(m, &record, &read_only);
        if (error_is_passing(r))
                return r;
        if (r < 0) {
                log_region(&m->log, LOG_ERR, NULL, name,
                           "Cannot read region %s, keeping its state for the next start: %s", name, strerror(-r));
                return skip(m, &record);
        }
        if (r == 0) {
                drop_state(m, name);
                return 0;
        }
        r = region_new(m, &record, &region);
        if (r < 0)
                return r;
        region->announced = true;
        region->progress = 1;
        region->read_only = read_only;
        region->id_is_new = id_is_new;
        region_save_or_log(region);
        return 0;
}

int manager_load(Manager *m) {
        Region *region;
        int r;

        r = kernel_root(&m->kernel);
        if (r < 0) {
                if (m->kernel.supported)
                        log_message(&m->log, LOG_WARNING, "Cannot open msharefs at %s: %s", m->kernel.ops->root(),
                                    strerror(-r));
                /*
                 * Keep the state files: the regions may be there again when msharefs is mounted. But if it is mounted later in
                 * this run, do not use it: the broker would not know to which users its regions belong.
                 */
                m->kernel.settled = true;
                return 0;
        }
        r = for_each_entry(m->regions_fd, load_state, m);
        if (r >= 0)
                r = kernel_list(&m->kernel, manager_found_in_kernel, m);
        if (r >= 0)
                r = manager_load_leases(m);
        if (r < 0) {
                log_message(&m->log, LOG_ERR, "Cannot restore the state of the last run: %s", strerror(-r));
                return r;
        }
        LIST_FOREACH(region, &m->regions, regions) {
                resize_finish(region);
                region_check_linger(region);
        }
        r = suspension_look(m);
        if (r < 0)
                log_message(&m->log, LOG_ERR,
                            "Cannot ask the bus whether the processes that populate regions still exist: %s",
                            strerror(-r));
        return r;
}
