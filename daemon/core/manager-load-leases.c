/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Restores leases from their FIFOs at the start: opens each one, finds its region, and drops those that no process holds. The
 * regions are in the table already. It starts no timers and sends no signals.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "core/manager-load-leases.h"
#include "core/manager.h"

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
 * belongs to that region. Otherwise its region is unknown.
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
        region_save_or_log(found);
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
        /* It is not a FIFO of the broker, and no region has this ID. */
        if (r < 0 && !region && !error_is_passing(r)) {
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
                        log_message(&m->log, LOG_WARNING, "Ignoring a lease of user %" PRIu32 ": its region is unknown",
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
        /* Save the ID last: if this fails, the next run must forget the old names again. */
        if (r >= 0)
                r = write_file_atomic(m->runtime_fd, "bus", id);
        if (r < 0)
                log_message(&m->log, LOG_WARNING, "Cannot save the ID of the bus: %s", strerror(-r));
}

int manager_load_leases(Manager *m) {
        int r;

        r = for_each_entry(m->leases_fd, load_lease, m);
        if (r >= 0)
                check_bus(m);
        return r;
}
