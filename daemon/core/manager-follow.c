/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Follows changes in msharefs: adopts regions that other processes create, and updates the records of regions whose files have
 * changed. Where record and kernel differ, the kernel is right. It checks no rights: the kernel has permitted the changes.
 */

#include <errno.h>
#include <inttypes.h>
#include <sys/inotify.h>

#include "model/messages.h"
#include "core/announce.h"
#include "core/creation.h"
#include "core/manager-follow.h"
#include "core/manager.h"
#include "model/name.h"

/* Changes in msharefs come in bursts, some of them by this broker, so they are handled together. */
#define RESCAN_DELAY_USEC (20 * USEC_PER_MSEC)

/* Enter a region that this broker did not create, or whose state is lost, with what msharefs says about it. */
static int adopt(Manager *m, const char *name, const KernelRegion *k) {
        _cleanup_(region_record_done) RegionRecord record = {
                .id = manager_random_id(m),
                .address = k->address,
                .length = k->length,
                .size = k->length,
                .mode = k->st.st_mode & 0777,
                .uid = k->st.st_uid,
                .gid = k->st.st_gid,
                .creator = (uid_t) -1,
                .backing = BACKING_UNKNOWN,
                .created_usec =
                        (uint64_t) k->st.st_ctim.tv_sec * USEC_PER_SEC + (uint64_t) k->st.st_ctim.tv_nsec / 1000,
                .inode = k->st.st_ino,
                .ready = true,
        };
        Region *region;
        int r;

        r = free_and_strdup(&record.name, name);
        if (r >= 0)
                r = region_new(m, &record, &region);
        if (r < 0)
                return r;
        region->progress = 1;
        region->read_only = k->read_only;
        region_save_or_log(region);
        log_region(&m->log, LOG_NOTICE, MESSAGE_REGION_ADOPTED, name,
                   "Adopting region %s, which this broker did not create", name);
        manager_announce_region(m, region);
        manager_mark(m, MANAGER_DIRTY_REGIONS);
        return 0;
}

static int add_foreign(Manager *m, const KernelRegion *k) {
        AddressRange *v;

        if (address_conflict(m->foreign, m->n_foreign, k->address, k->length))
                return 0;
        v = realloc(m->foreign, (m->n_foreign + 1) * sizeof(*v));
        if (!v)
                return -ENOMEM;
        m->foreign = v;
        v[m->n_foreign++] = (AddressRange){ k->address, k->length };
        return 0;
}

int manager_found_in_kernel(const char *name, void *userdata) {
        Manager *m = userdata;
        KernelRegion k;
        int r;

        if (manager_find_region(m, name) || manager_has_skipped(m, name))
                return 0;
        r = kernel_read_region(&m->kernel, name, &k);
        if (r == -ENOENT)
                return 0;
        if (r < 0) {
                bool speakable = region_name_is_adoptable(name);

                log_region(&m->log, LOG_WARNING, NULL, speakable ? name : NULL,
                           "Cannot read %s%s in msharefs, ignoring it: %s",
                           speakable ? "region " : "a region whose name cannot be used on the bus",
                           speakable ? name : "", strerror(-r));
                return 0;
        }
        if (creation_is_unfinished(&k)) {
                /*
                 * The donor of an earlier run left it incomplete, before any state was written. With mode 0, no user can attach
                 * it.
                 */
                log_region(&m->log, LOG_NOTICE, NULL, name, "Region %s was left incomplete; removing it", name);
                (void) kernel_unlink(&m->kernel, name);
                return 0;
        }
        if (!region_name_is_adoptable(name)) {
                log_message(&m->log, m->rescan_source ? LOG_DEBUG : LOG_WARNING,
                            "A region in msharefs has a name that cannot be used on the bus; ignoring it");
                return add_foreign(m, &k);
        }
        return adopt(m, name, &k);
}

bool region_record_follow(RegionRecord *record, const struct stat *st, unsigned *ret_dirty) {
        unsigned dirty = 0;

        if (record->mode != (st->st_mode & 0777))
                dirty |= REGION_DIRTY_MODE;
        if (record->uid != st->st_uid || record->gid != st->st_gid)
                dirty |= REGION_DIRTY_OWNER;
        record->mode = st->st_mode & 0777;
        if (record->mode != 0)
                region_record_resume(record);
        record->uid = st->st_uid;
        record->gid = st->st_gid;
        *ret_dirty = dirty;
        return dirty != 0;
}

static void log_change_by_others(Manager *m, const RegionRecord *record, const struct stat *st) {
        /* The owner can do that all the time. */
        if (!log_has_room(&m->log, st->st_uid))
                return;
        log_region(&m->log, LOG_NOTICE, MESSAGE_CHANGED_BY_OTHERS, record->name,
                   "Region %s was changed in msharefs by another process: owner %" PRIu32 ":%" PRIu32
                   " and mode %04o, before %" PRIu32 ":%" PRIu32 " and %04o",
                   record->name, (uint32_t) st->st_uid, (uint32_t) st->st_gid, (unsigned) st->st_mode & 0777,
                   (uint32_t) record->uid, (uint32_t) record->gid, (unsigned) record->mode);
}

static Region *refresh(Manager *m, Region *region, bool ours) {
        RegionRecord *record = &region->record, before = *record;
        unsigned dirty;
        struct stat st;
        int r;

        if (!record->ready)
                return region;
        r = kernel_stat(&m->kernel, record->name, &st);
        if (r == -ENOENT || (r >= 0 && record->inode != 0 && st.st_ino != record->inode)) {
                manager_lose_region(m, region, "it was unlinked by another process");
                return NULL;
        }
        if (r < 0) {
                log_region(&m->log, LOG_WARNING, NULL, record->name, "Cannot read region %s: %s", record->name,
                           strerror(-r));
                return region;
        }
        if (region_record_follow(record, &st, &dirty)) {
                if (!ours) {
                        log_change_by_others(m, &before, &st);
                        if (record->has_before && !region_record_has_owner_before(record))
                                region_record_overrule(record);
                }
                region_save_or_log(region);
                region_mark(region, dirty);
        }
        return region;
}

Region *manager_refresh_region(Manager *m, Region *region) {
        return refresh(m, region, false);
}

Region *manager_follow_change(Manager *m, Region *region) {
        return refresh(m, region, true);
}

static int rescan(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        Region *region, *next;

        m->rescan = false;
        m->n_foreign = 0; /* the scan finds those that still exist */
        for (region = LIST_FIRST(&m->regions); region; region = next) {
                next = LIST_NEXT(region, regions);
                (void) manager_refresh_region(m, region);
        }
        (void) kernel_list(&m->kernel, manager_found_in_kernel, m);
        return 0;
}

static int on_inotify(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Manager *m = userdata;

        if (m->rescan || sd_event_source_set_time_relative(m->rescan_source, RESCAN_DELAY_USEC) < 0 ||
            sd_event_source_set_enabled(m->rescan_source, SD_EVENT_ONESHOT) < 0)
                return 0;
        m->rescan = true;
        return 0;
}

int manager_watch_kernel(Manager *m) {
        int r;

        if (kernel_root(&m->kernel) < 0)
                return 0;
        r = sd_event_add_time_relative(m->event, &m->rescan_source, CLOCK_MONOTONIC, RESCAN_DELAY_USEC,
                                       RESCAN_DELAY_USEC / 10, rescan, m);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->rescan_source, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_inotify(m->event, &m->watch, m->kernel.ops->root(),
                                         IN_CREATE | IN_DELETE | IN_ATTRIB | IN_MOVE | IN_ONLYDIR, on_inotify, m);
        if (r < 0)
                log_message(&m->log, LOG_WARNING,
                            "Cannot watch msharefs; changes by other processes are noticed only when a client asks: %s",
                            strerror(-r));
        return 0;
}
