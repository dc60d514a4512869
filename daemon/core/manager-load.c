/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Brings our state files and leases into agreement with msharefs, at the start and whenever a file in msharefs changes. Where
 * they differ, the kernel is right.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/inotify.h>

#include "basic/messages.h"
#include "core/announce.h"
#include "core/manager.h"
#include "model/name.h"

/* Changes in msharefs come in bursts, our own among them: they are looked at together. */
#define RESCAN_DELAY_USEC (20 * USEC_PER_MSEC)

/* A temporary file of write_file_atomic(), left by a run that was killed before it renamed the file. */
static bool is_temporary(const char *name) {
        return strncmp(name, ".#", 2) == 0;
}

static void drop_state(Manager *m, const char *name) {
        (void) unlinkat(m->regions_fd, name, 0);
}

static int enter(Manager *m, RegionRecord *record, Region **ret) {
        _cleanup_(freep) char *path = NULL;
        int r;

        r = region_path(record->name, &path);
        if (r < 0)
                return r;
        return region_new(m, record, path, ret);
}

/* Enter a region that this broker did not create, or whose state is lost, as it is in msharefs. */
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
                .created_usec = (uint64_t) k->st.st_ctim.tv_sec * USEC_PER_SEC + (uint64_t) k->st.st_ctim.tv_nsec / 1000,
                .inode = k->st.st_ino,
                .ready = true,
        };
        Region *region;
        int r;

        r = free_and_strdup(&record.name, name);
        if (r >= 0)
                r = enter(m, &record, &region);
        if (r < 0)
                return r;
        region->progress = 1;
        region->read_only = k->read_only;
        r = region_save(region);
        if (r < 0)
                log_region(&m->log, LOG_ERR, NULL, name, "Cannot save the state of region %s: %s", name, strerror(-r));
        log_region(&m->log, LOG_NOTICE, MESSAGE_REGION_ADOPTED, name,
                   "Region %s was not created by this broker; adopting it as it is", name);
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
        v[m->n_foreign++] = (AddressRange) { k->address, k->length };
        return 0;
}

/* A name in msharefs that may not be in our table. */
static int found_in_kernel(const char *name, void *userdata) {
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
                           "Cannot read region %s in msharefs, ignoring it: %s",
                           speakable ? name : "(not a name for the bus)", strerror(-r));
                return 0;
        }
        if ((k.st.st_mode & 0777) == 0 && k.st.st_uid == geteuid()) {
                /* Left incomplete by the donor of an earlier run, before any state was written. With mode 0 it is of no use. */
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

/* Where the kernel and the record differ, the kernel is right. Returns whether anything did. */
static bool follow_kernel(RegionRecord *record, const struct stat *st, unsigned *ret_dirty) {
        unsigned dirty = 0;

        if (record->mode != (st->st_mode & 0777))
                dirty |= REGION_DIRTY_MODE;
        if (record->uid != st->st_uid || record->gid != st->st_gid)
                dirty |= REGION_DIRTY_OWNER;
        record->mode = st->st_mode & 0777;
        record->uid = st->st_uid;
        record->gid = st->st_gid;
        *ret_dirty = dirty;
        return dirty != 0;
}

static void log_change_by_others(Manager *m, const RegionRecord *record, const struct stat *st) {
        log_region(&m->log, LOG_NOTICE, MESSAGE_CHANGED_BY_OTHERS, record->name,
                   "Region %s was changed in msharefs, not by this broker: owner %" PRIu32 ":%" PRIu32
                   ", mode %04o before, owner %" PRIu32 ":%" PRIu32 ", mode %04o now",
                   record->name, (uint32_t) record->uid, (uint32_t) record->gid, (unsigned) record->mode,
                   (uint32_t) st->st_uid, (uint32_t) st->st_gid, (unsigned) st->st_mode & 0777);
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
        if (follow_kernel(record, &st, &dirty)) {
                if (!ours)
                        log_change_by_others(m, &before, &st);
                r = region_save(region);
                if (r < 0)
                        log_region(&m->log, LOG_ERR, NULL, record->name, "Cannot save the state of region %s: %s",
                                   record->name, strerror(-r));
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

/* Update the record that an earlier run saved from the kernel. Returns 0 if the record is obsolete. */
static int reconcile(Manager *m, RegionRecord *record, bool *ret_read_only) {
        KernelRegion k;
        unsigned dirty;
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
                           "Region %s does not match its saved state; discarding the state",
                           record->name);
                return 0;
        }
        /* What the state file does not contain is taken from the kernel, as far as the kernel knows it. */
        if (!record->has_ready)
                record->ready = (k.st.st_mode & 0777) != 0 || k.st.st_uid != geteuid();
        if (!record->has_created)
                record->created_usec = (uint64_t) k.st.st_ctim.tv_sec * USEC_PER_SEC + (uint64_t) k.st.st_ctim.tv_nsec / 1000;
        if (!record->has_size)
                record->size = k.length;
        if (!record->has_id)
                record->id = manager_random_id(m);
        if (!record->ready && (k.st.st_mode & 0777) == 0) {
                log_region(&m->log, LOG_NOTICE, NULL, record->name, "Region %s was left incomplete; removing it",
                           record->name);
                (void) kernel_unlink(&m->kernel, record->name);
                return 0;
        }
        /* Its mode is set, so only the last save is missing, unless the name now belongs to another region. */
        if (!record->ready && record->has_window && (k.address != record->address || k.length != record->length)) {
                log_region(&m->log, LOG_WARNING, MESSAGE_REGION_LOST, record->name,
                           "Region %s is not the one that was being created; discarding its state",
                           record->name);
                return 0;
        }
        record->ready = true;
        record->inode = k.st.st_ino;
        record->address = k.address;
        record->length = k.length;
        if (record->size > record->length)
                record->size = record->length;
        (void) follow_kernel(record, &k.st, &dirty);
        *ret_read_only = k.read_only;
        return 1;
}

/* A temporary local shortage that may be gone at the next start. */
static bool is_passing(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}

/* Takes *record over. */
static int skip(Manager *m, RegionRecord *record) {
        RegionRecord *v;

        v = realloc(m->skipped, (m->n_skipped + 1) * sizeof(*v));
        if (!v)
                return -ENOMEM;
        m->skipped = v;
        v[m->n_skipped++] = *record;
        *record = (RegionRecord) {};
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
        if (is_passing(r))
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
                           "Cannot use all of the state file of region %s (%s); taking the rest from the kernel", name, reason);
                r = free_and_strdup(&record.name, name);
                if (r < 0)
                        return r;
        }
        id_is_new = !record.has_id;
        r = reconcile(m, &record, &read_only);
        if (is_passing(r))
                return r;
        if (r < 0) {
                log_region(&m->log, LOG_ERR, NULL, name, "Cannot read region %s, keeping its state for the next start: %s",
                           name, strerror(-r));
                return skip(m, &record);
        }
        if (r == 0) {
                drop_state(m, name);
                return 0;
        }
        r = enter(m, &record, &region);
        if (r < 0)
                return r;
        region->announced = true;
        region->progress = 1;
        region->read_only = read_only;
        region->id_is_new = id_is_new;
        r = region_save(region);
        if (r < 0)
                log_region(&m->log, LOG_ERR, NULL, name, "Cannot save the state of region %s: %s", name, strerror(-r));
        return 0;
}

static Region *find_by_id(Manager *m, uint64_t id) {
        Region *region;

        LIST_FOREACH(region, &m->regions, regions)
                if (region->record.id == id)
                        return region;
        return NULL;
}

static bool is_of_skipped(const Manager *m, const LeaseRecord *record) {
        for (size_t i = 0; i < m->n_skipped; i++)
                if (m->skipped[i].id == record->region_id)
                        return true;
        return false;
}

static bool is_held(const Lease *lease) {
        struct pollfd p = { .fd = lease->fd };

        return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

/*
 * Find the region of a lease whose region ID is in no state file any more. If exactly one region has lost its ID, the lease
 * belongs to that region. Otherwise the region cannot be known.
 */
static Region *find_for_orphan(Manager *m, const LeaseRecord *record) {
        Region *region, *found = NULL;

        LIST_FOREACH(region, &m->regions, regions) {
                if (!region->id_is_new)
                        continue;
                if (found)
                        return NULL;
                found = region;
        }
        if (!found)
                return NULL;
        found->id_is_new = false;
        found->record.id = record->region_id;
        if (region_save(found) < 0)
                log_region(&m->log, LOG_ERR, NULL, found->record.name, "Cannot save the state of region %s",
                           found->record.name);
        return found;
}

static int load_lease(const char *name, void *userdata) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        _cleanup_(lease_freep) Lease *lease = NULL;
        Region *region = NULL;
        Manager *m = userdata;
        int r;

        r = lease_record_parse(name, &record);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                (void) unlinkat(m->leases_fd, name, 0);
                return 0;
        }
        region = find_by_id(m, record.region_id);
        if (!region && is_of_skipped(m, &record))
                return 0;
        r = lease_open(m->leases_fd, name, &record, &lease);
        /* Not a FIFO of ours, and no region has this ID. */
        if (r < 0 && !region && !is_passing(r)) {
                (void) unlinkat(m->leases_fd, name, 0);
                return 0;
        }
        if (r >= 0 && !region && !is_held(lease)) {
                lease_drop(TAKE_PTR(lease), m->leases_fd);
                return 0;
        }
        if (r >= 0 && !region) {
                region = find_for_orphan(m, &lease->record);
                if (!region) {
                        log_message(&m->log, LOG_WARNING,
                                    "A lease of user %" PRIu32 " is held, but its region is not known; ignoring it",
                                    (uint32_t) lease->record.uid);
                        return 0;
                }
        }
        if (r >= 0)
                r = region_add_lease(region, lease);
        if (r < 0) {
                log_region(&m->log, LOG_ERR, NULL, region ? region->record.name : NULL,
                           "Cannot restore a lease of region %s: %s", region ? region->record.name : "(unknown)",
                           strerror(-r));
                return r == -ENOMEM ? r : 0;
        }
        TAKE_PTR(lease);
        region->record.leased = true;
        return 0;
}

/* Forget the bus names of clients of an earlier bus: on this bus they may belong to other clients. */
static void check_bus(Manager *m) {
        _cleanup_(freep) char *text = NULL;
        char id[SD_ID128_STRING_MAX];
        sd_id128_t bus_id;
        Region *region;
        Lease *lease;
        int r = 0;

        if (sd_bus_get_bus_id(m->bus, &bus_id) < 0)
                return;
        (void) sd_id128_to_string(bus_id, id);
        if (read_file(m->runtime_fd, "bus", 64, &text, NULL) >= 0 && streq(text, id))
                return;
        LIST_FOREACH(region, &m->regions, regions)
                LIST_FOREACH(lease, &region->leases, leases) {
                        int k = lease_forget_sender(lease, m->leases_fd);

                        r = k < 0 ? k : r;
                }
        /* Last: if this fails, the next run must forget the old names again. */
        if (r >= 0)
                r = write_file_atomic(m->runtime_fd, "bus", id);
        if (r < 0)
                log_message(&m->log, LOG_WARNING, "Cannot save the ID of the bus: %s",
                            strerror(-r));
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
                 * Keep the state files: the regions may be back when msharefs is mounted. But do not use it if it is
                 * mounted later in this run: we would not know whose regions are in it.
                 */
                m->kernel.settled = true;
                return 0;
        }
        r = for_each_entry(m->regions_fd, load_state, m);
        if (r >= 0)
                r = kernel_list(&m->kernel, found_in_kernel, m);
        if (r >= 0)
                r = for_each_entry(m->leases_fd, load_lease, m);
        if (r < 0) {
                log_message(&m->log, LOG_ERR, "Cannot restore the state of the last run: %s", strerror(-r));
                return r;
        }
        check_bus(m);
        LIST_FOREACH(region, &m->regions, regions)
                region_check_linger(region);
        return 0;
}

static int rescan(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        Region *region, *next;

        m->rescan = false;
        m->n_foreign = 0; /* those that still exist are found again */
        for (region = LIST_FIRST(&m->regions); region; region = next) {
                next = LIST_NEXT(region, regions);
                (void) manager_refresh_region(m, region);
        }
        (void) kernel_list(&m->kernel, found_in_kernel, m);
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
                log_message(&m->log, LOG_WARNING, "Cannot watch msharefs; changes by other processes are noticed only when a client asks: %s",
                            strerror(-r));
        return 0;
}
