/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The table of all regions, and their removal. It opens what the broker needs before it connects to the bus. It knows
 * neither the rights to a region nor messages.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/random.h>

#include "model/messages.h"
#include "core/announce.h"
#include "core/creation.h"
#include "core/manager.h"
#include "core/resize.h"
#include "errors.h"

/* Five seconds for each lock, the first of them without a message. */
#define LOCK_TRIES 250
#define LOCK_TRIES_IN_SILENCE 50
#define LOCK_PAUSE_USEC 20000

/* How long a broker that exits waits for all its donors. */
#define DONORS_END_USEC (5 * USEC_PER_SEC)

static void complain(const char *file, unsigned line, const char *message, void *userdata) {
        Manager *m = userdata;

        if (line > 0)
                log_message(&m->log, LOG_WARNING, "%s:%u: %s; ignored", file, line, message);
        else
                log_message(&m->log, LOG_WARNING, "%s: %s; ignored", file, message);
}

int manager_load_config(Manager *m) {
        /* systemd sets the variable from ConfigurationDirectory=. */
        const char *etc = getenv("CONFIGURATION_DIRECTORY");
        const char *dirs[] = { etc ?: "/etc/mshare", "/run/mshare", "/usr/lib/mshare", NULL };
        Config config;
        int r;

        config_set_defaults(&config);
        r = config_load(&config, dirs, complain, m);
        if (r < 0)
                return r;
        m->config = config;
        m->log.level = config.log_level;
        return 0;
}

static int lock_or_wait(Manager *m, int fd, const char *whose) {
        for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
                if (errno != EWOULDBLOCK || i == LOCK_TRIES)
                        return -errno;
                if (i == LOCK_TRIES_IN_SILENCE)
                        log_message(&m->log, LOG_NOTICE, "Waiting for %s to exit", whose);
                (void) usleep(LOCK_PAUSE_USEC);
        }
        return 0;
}

/*
 * A broker that starts removes what an unfinished creation has left, so no other broker or donor may be at work. Donors inherit
 * the second of these locks. If a broker was killed, its donor may still be in a system call, and exits only after that. The
 * call may read a file whose server does not answer, so the broker must not wait for ever. If it stops waiting, the region of
 * that donor is found and removed when the kernel announces it.
 */
static int lock_runtime(Manager *m, const char *dir) {
        int r;

        r = lock_or_wait(m, m->runtime_fd, "another mshared");
        if (r < 0) {
                log_message(&m->log, LOG_ERR, "Cannot lock the runtime directory %s: %s", dir,
                            r == -EWOULDBLOCK ? "another mshared uses it" : strerror(-r));
                return r;
        }
        r = lock_or_wait(m, m->regions_fd, "a donor of the last run");
        if (r == -EWOULDBLOCK) {
                log_message(&m->log, LOG_WARNING,
                            "A donor of the last run does not exit; not waiting for it any longer");
                r = 0;
        }
        if (r >= 0 && flock(m->regions_fd, LOCK_SH | LOCK_NB) < 0)
                r = -errno;
        if (r < 0)
                log_message(&m->log, LOG_ERR, "Cannot lock %s/regions: %s", dir, strerror(-r));
        return r;
}

static int open_runtime(Manager *m) {
        const char *dir = getenv("RUNTIME_DIRECTORY") ?: "/run/mshared";
        int r;

        m->runtime_fd = open_or_make_dir(AT_FDCWD, dir, 0755);
        if (m->runtime_fd >= 0)
                m->regions_fd = open_or_make_dir(m->runtime_fd, "regions", 0700);
        if (m->regions_fd >= 0)
                m->leases_fd = open_or_make_dir(m->runtime_fd, "leases", 0700);
        if (m->leases_fd < 0) {
                r = m->runtime_fd < 0 ? m->runtime_fd : m->regions_fd < 0 ? m->regions_fd : m->leases_fd;

                log_message(&m->log, LOG_ERR, "Cannot use the runtime directory %s: %s", dir, strerror(-r));
                return r;
        }
        return lock_runtime(m, dir);
}

int manager_new(Manager **ret) {
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;
        m->runtime_fd = m->regions_fd = m->leases_fd = -1;
        m->kernel.root_fd = -1;
        log_init(&m->log, "mshared", LOG_INFO);
        m->users.log = &m->log;
        r = manager_load_config(m);
        if (r < 0) {
                log_message(&m->log, LOG_ERR, "Cannot read the configuration: %s", strerror(-r));
                return r;
        }
        r = open_runtime(m);
        if (r < 0)
                return r;
        r = sd_event_default(&m->event);
        if (r < 0) {
                log_message(&m->log, LOG_ERR, "Cannot set up the event loop: %s", strerror(-r));
                return r;
        }
        r = kernel_open(&m->kernel, kernel_ops());
        if (r < 0) {
                log_message(&m->log, LOG_ERR, "Cannot read the granule of the kernel: %s", strerror(-r));
                return r;
        }
        if (!m->kernel.supported)
                log_region(&m->log, LOG_WARNING, MESSAGE_KERNEL_UNSUPPORTED, NULL,
                           "This kernel has no mshare: " KERNEL_RULE);
        *ret = TAKE_PTR(m);
        return 0;
}

void manager_free(Manager *m) {
        Region *region;

        if (!m)
                return;
        while ((region = LIST_FIRST(&m->regions)))
                region_free(region);
        sd_event_source_disable_unref(m->watch);
        sd_event_source_disable_unref(m->rescan_source);
        sd_event_source_disable_unref(m->holders_source);
        authz_free(m->authz);
        turns_free(m->turns);
        callers_free(m->callers);
        sd_bus_flush_close_unref(m->bus);
        kernel_done(&m->kernel);
        sd_event_unref(m->event);
        users_done(&m->users);
        free(m->foreign);
        for (size_t i = 0; i < m->n_skipped; i++)
                region_record_done(m->skipped + i);
        free(m->skipped);
        safe_close(m->leases_fd);
        safe_close(m->regions_fd);
        safe_close(m->runtime_fd);
        free(m);
}

void manager_end_donors(Manager *m) {
        uint64_t deadline = usec_now(CLOCK_MONOTONIC) + DONORS_END_USEC;
        Region *region, *next;

        for (region = LIST_FIRST(&m->regions); region; region = next) {
                next = LIST_NEXT(region, regions);
                if (region->creation)
                        creation_end(region->creation, deadline);
                else if (region->resize)
                        resize_end(region->resize, deadline);
        }
}

Region *manager_find_region(Manager *m, const char *name) {
        Region *region;

        LIST_FOREACH(region, &m->regions, regions)
                if (streq(region->record.name, name))
                        return region;
        return NULL;
}

bool manager_has_skipped(const Manager *m, const char *name) {
        for (size_t i = 0; i < m->n_skipped; i++)
                if (streq(m->skipped[i].name, name))
                        return true;
        return false;
}

Region *manager_find_region_by_path(Manager *m, const char *path) {
        Region *region;

        LIST_FOREACH(region, &m->regions, regions)
                if (streq(region->path, path))
                        return region;
        return NULL;
}

ssize_t manager_windows(Manager *m, AddressRange **ret, size_t *ret_all) {
        AddressRange *v;
        Region *region;
        size_t n = 0;

        v = calloc(m->n_regions + m->n_foreign + m->n_skipped + RECENT_WINDOWS, sizeof(*v));
        if (!v)
                return -ENOMEM;
        LIST_FOREACH(region, &m->regions, regions)
                v[n++] = (AddressRange){ region->record.address, region->record.length };
        for (size_t i = 0; i < m->n_foreign; i++)
                v[n++] = m->foreign[i];
        for (size_t i = 0; i < m->n_skipped; i++)
                v[n++] = (AddressRange){ m->skipped[i].address, m->skipped[i].length };
        *ret_all = n;
        for (size_t i = 0; i < RECENT_WINDOWS; i++)
                if (m->recent[i].length > 0)
                        v[(*ret_all)++] = m->recent[i];
        *ret = v;
        return (ssize_t) n;
}

uint64_t manager_random_id(Manager *m) {
        uint64_t id;

        if (getrandom(&id, sizeof(id), 0) != sizeof(id))
                /* This fails only during early boot. IDs need not be random, only different within one broker. */
                id = usec_now(CLOCK_REALTIME) << 16 ^ (uint64_t) m->n_leases ^ (uint64_t) (uintptr_t) &id;
        return id;
}

/* Remove the region and announce that. The names are copied first, because the region is freed. */
static void forget_and_announce(Manager *m, Region *region) {
        _cleanup_(freep) char *name = NULL, *path = NULL;
        bool announced = region->announced;

        m->recent[m->n_recent++ % RECENT_WINDOWS] = (AddressRange){ region->record.address, region->record.length };
        name = strdup(region->record.name);
        path = strdup(region->path);
        region_forget(region);
        if (announced && name && path)
                manager_announce_removal(m, name, path);
        manager_mark(m, MANAGER_DIRTY_REGIONS | MANAGER_DIRTY_CLIENTS);
}

int manager_remove_region(Manager *m, Region *region, const char *why, const Actor *by) {
        int r;

        r = kernel_unlink(&m->kernel, region->record.name);
        if (r < 0 && r != -ENOENT) {
                log_region(&m->log, LOG_ERR, NULL, region->record.name, "Cannot unlink region %s: %s",
                           region->record.name, strerror(-r));
                return r;
        }
        if (by || log_has_room(&m->log, region->payer))
                log_change(&m->log, LOG_NOTICE, MESSAGE_REGION_REMOVED, region->record.name, by,
                           "Region %s removed: %s", region->record.name, why);
        forget_and_announce(m, region);
        return 0;
}

void manager_lose_region(Manager *m, Region *region, const char *why) {
        log_region(&m->log, LOG_WARNING, MESSAGE_REGION_LOST, region->record.name, "Region %s is gone: %s",
                   region->record.name, why);
        forget_and_announce(m, region);
}

/* Other users than root could use it to silence the broker. */
int manager_permit_log_change(Manager *m, const Identity *who, const char *what, const char *value,
                              sd_bus_error *error) {
        Actor by;

        if (!who || who->uid != 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "Only root may set the %s", what);
        by = (Actor){ .uid = who->uid, .pid = who->pid };
        log_change(&m->log, LOG_NOTICE, NULL, NULL, &by, "Set the %s to %s", what, value);
        return 0;
}

int manager_limit_reached(Manager *m, Limit limit, sd_bus_error *error) {
        return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED, "Limit reached, %s: %" PRIu64 "; see %s= in mshared.conf",
                                 limit_meaning(limit), m->config.limits.max[limit], limit_name(limit));
}
