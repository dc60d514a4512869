/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One region: its entry in the manager's table, its state file and mode, its leases, and the timer that removes it after its
 * last client has left. It checks no rights: region-ops.c and region-rights.c have done that.
 */

#include <errno.h>

#include "core/announce.h"
#include "core/creation.h"
#include "core/manager.h"
#include "core/region.h"
#include "core/resize.h"
#include "policy/acl.h"

/* How long to wait before checking again whether a region without leases still has sharers: doubled each time, up to 30 s. */
#define LOOK_AGAIN_USEC (1 * USEC_PER_SEC)
#define LOOK_AGAIN_MAX_USEC (30 * USEC_PER_SEC)

int region_new(Manager *manager, RegionRecord *record, Region **ret) {
        _cleanup_(freep) char *path = NULL;
        Region *region;
        int r;

        r = sd_bus_path_encode(BUS_REGION_PATH, record->name, &path);
        if (r < 0)
                return r;
        region = calloc(1, sizeof(*region));
        if (!region)
                return -ENOMEM;
        region->manager = manager;
        LIST_INSERT_HEAD(&manager->regions, region, regions);
        manager->n_regions++;
        region->path = TAKE_PTR(path);
        region->record = *record;
        *record = (RegionRecord){};
        /* The limit has been checked. A region that exists is charged in any case. */
        region->payer = region->record.creator != (uid_t) -1 ? region->record.creator : region->record.uid;
        region->bytes_charged = region_record_held(&region->record);
        region->users.log = &manager->log;
        if (users_charge_forced(&manager->users, region->payer, LIMIT_USER_REGIONS, 1) < 0) {
                region_free(region);
                return -ENOMEM;
        }
        if (users_charge_forced(&manager->users, region->payer, LIMIT_USER_BYTES, region->bytes_charged) < 0) {
                users_discharge(&manager->users, region->payer, LIMIT_USER_REGIONS, 1);
                region_free(region);
                return -ENOMEM;
        }
        region->charged = true;
        *ret = region;
        return 0;
}

/*
 * Ends a lease, whatever the reason: removes it from the region, discharges its user and frees it. gone: its client has gone,
 * so the FIFO is removed, too; otherwise it stays for the next run.
 */
static void end_lease(Region *region, Lease *lease, bool gone) {
        LIST_REMOVE(lease, leases);
        region->n_leases--;
        region->manager->n_leases--;
        users_discharge(&region->manager->users, lease->record.uid, LIMIT_USER_LEASES, 1);
        users_discharge(&region->users, lease->record.uid, LIMIT_USER_LEASES, 1);
        if (gone)
                lease_drop(lease, region->manager->leases_fd);
        else
                lease_free(lease);
}

void region_free(Region *region) {
        Manager *m;
        Lease *lease;

        if (!region)
                return;
        m = region->manager;
        creation_free(region->creation);
        resize_free(region->resize);
        while ((lease = LIST_FIRST(&region->leases)))
                end_lease(region, lease, false);
        sd_event_source_disable_unref(region->linger);
        if (region->charged) {
                users_discharge(&m->users, region->payer, LIMIT_USER_REGIONS, 1);
                users_discharge(&m->users, region->payer, LIMIT_USER_BYTES, region->bytes_charged);
        }
        users_done(&region->users);
        LIST_REMOVE(region, regions);
        m->n_regions--;
        region_record_done(&region->record);
        free(region->path);
        free(region);
}

void region_forget(Region *region) {
        Manager *m = region->manager;
        Lease *lease;

        while ((lease = LIST_FIRST(&region->leases)))
                end_lease(region, lease, true);
        (void) unlinkat(m->regions_fd, region->record.name, 0);
        region_free(region);
}

int region_save(Region *region) {
        _cleanup_(freep) char *text = NULL;

        text = region_record_format(&region->record);
        if (!text)
                return -ENOMEM;
        return write_file_atomic(region->manager->regions_fd, region->record.name, text);
}

void region_log_unsaved(Region *region, int r) {
        log_region(&region->manager->log, LOG_ERR, NULL, region->record.name, "Cannot save the state of region %s: %s",
                   region->record.name, strerror(-r));
}

void region_save_or_log(Region *region) {
        int r = region_save(region);

        if (r < 0)
                region_log_unsaved(region, r);
}

static int on_hang_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Lease *lease = userdata;

        region_drop_lease(lease->region, lease);
        return 0;
}

int region_add_lease(Region *region, Lease *lease) {
        Manager *m = region->manager;
        int r;

        r = lease_watch(lease, m->event, on_hang_up);
        if (r < 0)
                return r;
        r = users_charge_forced(&m->users, lease->record.uid, LIMIT_USER_LEASES, 1);
        if (r < 0)
                return r;
        r = users_charge_forced(&region->users, lease->record.uid, LIMIT_USER_LEASES, 1);
        if (r < 0) {
                users_discharge(&m->users, lease->record.uid, LIMIT_USER_LEASES, 1);
                return r;
        }
        lease->region = region;
        LIST_INSERT_HEAD(&region->leases, lease, leases);
        region->n_leases++;
        m->n_leases++;
        region->linger = sd_event_source_disable_unref(region->linger);
        region_mark(region, REGION_DIRTY_CLIENTS);
        manager_mark(m, MANAGER_DIRTY_CLIENTS);
        return 0;
}

void region_drop_lease(Region *region, Lease *lease) {
        Manager *m = region->manager;
        uid_t uid = lease->record.uid;

        end_lease(region, lease, true);
        region_mark(region, REGION_DIRTY_CLIENTS);
        manager_mark(m, MANAGER_DIRTY_CLIENTS);
        manager_announce_client(m, "ClientReleased", region->record.name, uid);
        region_check_linger(region);
}

int region_dir(const Region *region) {
        return kernel_root(&region->manager->kernel);
}

int region_plain_mode(const Region *region, mode_t *ret) {
        int r = acl_plain_mode(region_dir(region), region->record.name, ret);

        if (!acl_is_missing(r))
                return r;
        *ret = region->record.mode;
        return 0;
}

int region_apply_mode(Region *region, mode_t mode) {
        int r = acl_replace_by_mode(region_dir(region), region->record.name, mode);

        return acl_is_missing(r) ? kernel_chmod(&region->manager->kernel, region->record.name, mode) : r;
}

int region_in_use(Region *region) {
        KernelUsage usage;
        int r;

        if (region->n_leases > 0 || region->resize)
                return 1;
        r = kernel_read_usage(&region->manager->kernel, region->record.name, &usage);
        if (r < 0)
                return r;
        return usage.sharers > 0;
}

static int on_linger(sd_event_source *source, uint64_t usec, void *userdata) {
        Region *region = userdata;
        Manager *m = region->manager;
        int r;

        r = region_in_use(region);
        if (r == 0) {
                r = manager_remove_region(m, region, "its last client has left", NULL);
                if (r >= 0)
                        return 0;
        }
        if (r == -ENOENT) {
                manager_lose_region(m, region, "it was unlinked by another process");
                return 0;
        }
        /*
         * The region has sharers without a lease and stays as long as they do, or the kernel could not count them or unlink the
         * region.
         */
        region->linger_usec *= 2;
        if (region->linger_usec > LOOK_AGAIN_MAX_USEC)
                region->linger_usec = LOOK_AGAIN_MAX_USEC;
        if (sd_event_source_set_time_relative(source, region->linger_usec) < 0 ||
            sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) < 0)
                region->linger = sd_event_source_disable_unref(region->linger);
        return 0;
}

void region_check_linger(Region *region) {
        Manager *m = region->manager;
        int r;

        if (region->record.lifetime != LIFETIME_WHILE_LEASED || !region->record.leased || !region->record.ready ||
            region->n_leases > 0 || region->linger)
                return;
        region->linger_usec = LOOK_AGAIN_USEC;
        r = sd_event_add_time_relative(m->event, &region->linger, CLOCK_MONOTONIC, region->record.linger_usec,
                                       10 * USEC_PER_MSEC, on_linger, region);
        if (r < 0)
                log_region(&m->log, LOG_ERR, NULL, region->record.name,
                           "Cannot start the linger timer of region %s: %s", region->record.name, strerror(-r));
}
