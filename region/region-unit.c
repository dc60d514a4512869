/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The commands start, run and stop: they create the declared region, wait as long as it exists, and remove it. region-take.c
 * takes over a region that exists already, and region-keep.c waits. This file knows the broker only through region-client.h.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "errors.h"
#include "kinds.h"
#include "region-client.h"
#include "region-file.h"
#include "region-keep.h"
#include "region-populate.h"
#include "region-size.h"
#include "region-take.h"
#include "region-unit.h"
#include "shmem-huge.h"

#define BROKER_BACK_USEC (30 * USEC_PER_SEC)
/* Give up on a broker that exits each time it is called. */
#define TRIES_MAX 5

static int on_created(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        ((Start *) userdata)->reply = sd_bus_message_ref(m);
        return 0;
}

/* ExecStop= is not run for a unit whose start has not finished, so remove here what this start has created. */
static int undo(Start *s, const char *name, sd_bus_error *error) {
        _cleanup_(sd_bus_error_free) sd_bus_error ignored = SD_BUS_ERROR_NULL;
        _cleanup_(freep) char *path = NULL;

        /*
         * The broker handles the calls of a connection in their order. So when it has answered this one, it is creating the
         * region. Or it has created none, and its answer to the first call, an error, has arrived, too.
         */
        (void) client_get_path(s->bus, name, &path, &ignored);
        while (!s->reply && sd_bus_process(s->bus, NULL) > 0)
                ;
        if (s->reply && sd_bus_message_is_method_error(s->reply, NULL))
                return 0;
        return client_remove_region(s->bus, name, error);
}

/* Memory without a file is always writable. */
static bool backing_is_writable(int fd) {
        return fd < 0 || (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY;
}

/*
 * The region has mode 0 until it is populated, so no process can attach before; the broker answers earlier requests with
 * RegionNotReady. If populating fails, the region is removed. If the broker is away meanwhile, the next try finds the region.
 */
static int fill(Start *s, const char *name, const RegionFile *f, bool writable, sd_bus_error *error) {
        _cleanup_(sd_bus_error_free) sd_bus_error ignored = SD_BUS_ERROR_NULL;
        PopulateRequest request = { .name = name, .file = f, .to = f->size, .writable = writable, .suspended = true };
        _cleanup_(freep) char *path = NULL;
        int r;

        r = sd_bus_path_encode(BUS_REGION_PATH, name, &path);
        if (r < 0)
                return r;
        request.path = path;
        r = region_populate(s, &request, error);
        if (r >= 0)
                return client_call(s->bus, error, NULL, "SetRegionMode", "su", name, (uint32_t) f->mode);
        if (!client_is_away(error))
                (void) client_remove_region(s->bus, name, &ignored);
        return r;
}

static int create_once(Start *s, const char *name, const RegionFile *f, const Owner *owner, mode_t final_mode, int fd,
                       sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        s->reply = sd_bus_message_unref(s->reply);
        r = sd_bus_message_new_method_call(s->bus, &m, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, "CreateRegion");
        if (r >= 0)
                r = sd_bus_message_append(m, "stu", name, f->size, (uint32_t) (f->populate ? 0 : f->mode));
        if (r >= 0)
                r = client_append_options(m, f, owner, final_mode, fd);
        if (r >= 0)
                r = sd_bus_call_async(s->bus, NULL, m, on_created, s, UINT64_MAX);
        if (r >= 0)
                r = start_wait(s, UINT64_MAX);
        /* The signal may have arrived together with the reply. */
        if (r >= 0)
                r = sd_event_run(s->event, 0);
        if (r < 0)
                return r;
        if (s->stopped) {
                r = undo(s, name, error);
                return r < 0 ? r : -ECANCELED;
        }
        if (sd_bus_message_is_method_error(s->reply, NULL)) {
                r = sd_bus_error_copy(error, sd_bus_message_get_error(s->reply));
                return r < 0 ? r : -EIO;
        }
        return 0;
}

/*
 * During an upgrade, an older broker may still run that does not know this option. It answers with an error that names the
 * option, and creates nothing.
 */
static bool is_older_broker(const sd_bus_error *error) {
        return sd_bus_error_has_name(error, SD_BUS_ERROR_INVALID_ARGS) && error->message &&
               strstr(error->message, "'final-mode'");
}

static int create(Start *s, const char *name, const RegionFile *f, const Owner *owner, int fd, sd_bus_error *error) {
        mode_t final_mode = f->populate ? f->mode : 0;
        int r;

        r = create_once(s, name, f, owner, final_mode, fd, error);
        if (r < 0 && final_mode != 0 && is_older_broker(error)) {
                sd_bus_error_free(error);
                r = create_once(s, name, f, owner, 0, fd, error);
        }
        if (r < 0)
                return r;
        return f->populate ? fill(s, name, f, backing_is_writable(fd), error) : 0;
}

/* Waits until the bus name has an owner again. It does not call the broker, because the bus would then start one. */
static int wait_for_broker(Start *s) {
        uint64_t end = usec_now(CLOCK_MONOTONIC) + BROKER_BACK_USEC;
        int r;

        do {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
                int there = 0;

                r = sd_bus_call_method(s->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                       "NameHasOwner", NULL, &reply, "s", BUS_NAME);
                if (r >= 0)
                        r = sd_bus_message_read(reply, "b", &there);
                if (r < 0 || there)
                        return r;
                r = start_wait(s, LOOK_AGAIN_USEC);
        } while (r >= 0 && !s->stopped && usec_now(CLOCK_MONOTONIC) < end);
        return r;
}

/*
 * If the broker exits meanwhile, the next one undoes an unfinished creation, and still knows a finished one. So then start
 * again. Also start again if a region of that name has been removed meanwhile.
 */
static int start(Start *s, const char *name, const RegionFile *f, const Owner *owner, int fd, sd_bus_error *error) {
        bool again;
        int r;

        for (unsigned i = 1;; i++) {
                r = create(s, name, f, owner, fd, error);
                again = r < 0 && client_is_away(error);
                if (r < 0 && sd_bus_error_has_name(error, ERROR_REGION_EXISTS)) {
                        sd_bus_error_free(error);
                        r = start_take_existing(s, name, f, owner, backing_is_writable(fd), error);
                        /* The region is gone, or the broker that answered before. */
                        again = r < 0 && (client_is_away(error) || sd_bus_error_has_names(error, ERROR_NO_SUCH_REGION,
                                                                                          SD_BUS_ERROR_UNKNOWN_OBJECT));
                }
                if (!again || s->stopped || i >= TRIES_MAX)
                        return r;
                s->reply = sd_bus_message_unref(s->reply);
                sd_bus_error_free(error);
                r = wait_for_broker(s);
                if (r < 0)
                        return r;
                if (s->stopped)
                        return -ECANCELED;
        }
}

/* A file that can only be read makes a region that can only be read. */
static int open_backing(const char *path) {
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);

        if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS || errno == ETXTBSY))
                fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

/* Only a warning: the region works with small pages, too. */
static void warn_of_huge_pages(const char *name, const RegionFile *f) {
        int hugepages = f->hugepages ? hugepages_parse(f->hugepages) : HUGEPAGES_DEFAULT;
        char path[128], value[32];

        if ((hugepages == HUGEPAGES_ADVISE || hugepages == HUGEPAGES_ALWAYS) && !f->path &&
            shmem_huge_denied(HUGE_SETTINGS_PATH, path, sizeof(path), value, sizeof(value)))
                (void) fprintf(stderr, "Region %s: " SHMEM_HUGE_DENIED_FORMAT ".\n", name, path, value);
}

/* Returns 0, or an exit status after printing the error. */
static int start_declared(Start *s, const char *name, sd_bus_error *error) {
        _cleanup_(region_file_done) RegionFile f = {};
        _cleanup_(closep) int fd = -1;
        Owner owner = {};
        int r;

        if (region_file_load(name, &f) < 0 || region_file_owner(&f, &owner) < 0)
                return EXIT_FAILURE;
        if (f.size_auto && region_size_ask(f.server, owner.uid, owner.gid, &f.size) < 0)
                return EXIT_FAILURE;
        if (f.path) {
                fd = open_backing(f.path);
                if (fd < 0) {
                        (void) fprintf(stderr, "Cannot open Path=%s: %s.\n", f.path, strerror(-fd));
                        return EXIT_FAILURE;
                }
        }
        r = start_open(s);
        if (r >= 0)
                r = start(s, name, &f, &owner, fd, error);
        if (r == -ECANCELED && s->stopped) {
                (void) fprintf(stderr, "The start was cancelled, and region %s was not created.\n", name);
                return EXIT_FAILURE;
        }
        if (r >= 0)
                warn_of_huge_pages(name, &f);
        return client_finish("create", name, r, error);
}

int region_start(const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(start_done) Start s = {};

        return start_declared(&s, name, &error);
}

int region_run(const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(start_done) Start s = {};
        bool removed;
        int r;

        r = start_declared(&s, name, &error);
        if (r != EXIT_SUCCESS)
                return r;
        r = start_keep(&s, name, &removed, &error);
        return client_finish(removed ? "remove" : "follow", name, r, &error);
}

int region_stop(const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = client_remove_region(bus, name, &error);
        return client_finish("remove", name, r, &error);
}
