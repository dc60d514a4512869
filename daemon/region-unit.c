/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <systemd/sd-bus.h>

#include "config.h"
#include "errors.h"
#include "manager.h"
#include "name.h"
#include "region-unit.h"

typedef struct Owner {
        uint32_t uid, gid;
} Owner;

static int say(int r, const char *format, ...) _printf_(2, 3);

static int say(int r, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vfprintf(stderr, format, ap);
        va_end(ap);
        return r;
}

static int load_file(const char *name, RegionFile *ret) {
        const char *dirs[] = { getenv("CONFIGURATION_DIRECTORY") ?: "/etc/mshare", "/run/mshare", "/usr/lib/mshare" };
        int r;

        if (!region_name_is_valid(name))
                return say(-EINVAL, "'%s' cannot name a region: " REGION_NAME_RULE ".\n", name);
        for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
                _cleanup_(freep) char *path = NULL, *text = NULL;

                if (asprintf(&path, "%s/regions.d/%s.conf", dirs[i], name) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                r = read_file(AT_FDCWD, path, CONFIG_FILE_MAX, &text, NULL);
                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return say(r, "Cannot read %s: %s.\n", path, strerror(-r));
                return region_file_parse(path, text, false, ret);
        }
        return say(-ENOENT, "There is no %s/regions.d/%s.conf (nor one in /run/mshare or /usr/lib/mshare).\n", dirs[0],
                   name);
}

static int resolve(const RegionFile *file, Owner *ret) {
        const struct passwd *pw;
        const struct group *gr;
        Owner owner = {};

        if (file->user && parse_u32(file->user, 10, &owner.uid) < 0) {
                pw = getpwnam(file->user);
                if (!pw)
                        return say(-ESRCH, "User=%s: there is no such user.\n", file->user);
                owner.uid = pw->pw_uid;
                owner.gid = pw->pw_gid;
        }
        if (file->group && parse_u32(file->group, 10, &owner.gid) < 0) {
                gr = getgrnam(file->group);
                if (!gr)
                        return say(-ESRCH, "Group=%s: there is no such group.\n", file->group);
                owner.gid = gr->gr_gid;
        }
        *ret = owner;
        return 0;
}

/* Calls a method of the manager; the first argument is the region's name. */
static int call(sd_bus *bus, sd_bus_error *error, sd_bus_message **reply, const char *method, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list ap;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, method);
        if (r < 0)
                return r;
        va_start(ap, types);
        r = sd_bus_message_appendv(m, types, ap);
        va_end(ap);
        /* Populating takes as long as it takes; the unit has a time limit if somebody wants one. */
        return r < 0 ? r : sd_bus_call(bus, m, UINT64_MAX, error, reply);
}

static int append_option(sd_bus_message *m, const char *key, const char *type, ...) {
        va_list ap;
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', type);
        va_start(ap, type);
        if (r >= 0)
                r = sd_bus_message_appendv(m, type, ap);
        va_end(ap);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_options(sd_bus_message *m, const RegionFile *f, const Owner *owner, int fd) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_option(m, "uid", "u", owner->uid);
        if (r >= 0)
                r = append_option(m, "gid", "u", owner->gid);
        if (r >= 0 && f->backing)
                r = append_option(m, "backing", "s", f->backing);
        if (r >= 0 && f->hugepages)
                r = append_option(m, "hugepages", "s", f->hugepages);
        if (r >= 0 && f->lifetime)
                r = append_option(m, "lifetime", "s", f->lifetime);
        if (r >= 0 && f->linger_set)
                r = append_option(m, "linger", "t", f->linger_usec);
        if (r >= 0 && f->label)
                r = append_option(m, "label", "s", f->label);
        if (r >= 0 && f->address_set)
                r = append_option(m, "address", "t", f->address);
        if (r >= 0 && f->populate)
                r = append_option(m, "populate", "b", 1);
        if (r >= 0 && fd >= 0)
                r = append_option(m, "fd", "h", fd);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int create(sd_bus *bus, const char *name, const RegionFile *f, const Owner *owner, int fd, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, "CreateRegion");
        if (r >= 0)
                r = sd_bus_message_append(m, "stu", name, f->size, (uint32_t) f->mode);
        if (r >= 0)
                r = append_options(m, f, owner, fd);
        return r < 0 ? r : sd_bus_call(bus, m, UINT64_MAX, error, NULL);
}

/* Brings owner and mode of a region to what the file says, never letting anybody in who is admitted neither before nor after. */
static int apply(sd_bus *bus, const char *name, const char *path, mode_t mode, const Owner *owner,
                 sd_bus_error *error) {
        uint32_t mode_now = 0;
        int r;

        r = sd_bus_get_property_trivial(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "Mode", error, 'u', &mode_now);
        if (r >= 0)
                r = call(bus, error, NULL, "SetRegionMode", "su", name, mode_now & mode);
        if (r >= 0)
                r = call(bus, error, NULL, "SetRegionOwner", "suu", name, owner->uid, owner->gid);
        if (r >= 0)
                r = call(bus, error, NULL, "SetRegionMode", "su", name, (uint32_t) mode);
        return r;
}

static int get_path(sd_bus *bus, const char *name, char **ret, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;
        int r;

        r = call(bus, error, &reply, "GetRegion", "s", name);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        return r < 0 ? r : free_and_strdup(ret, path);
}

/* The region is there: left by an earlier run of the unit, or made by hand. It will do if it is as big as it must be. */
static int take_existing(sd_bus *bus, const char *name, const RegionFile *f, const Owner *owner, sd_bus_error *error) {
        _cleanup_(freep) char *path = NULL, *backing = NULL;
        uint64_t size;
        int r;

        r = get_path(bus, name, &path, error);
        if (r >= 0)
                r = sd_bus_get_property_trivial(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "Size", error, 't', &size);
        if (r >= 0)
                r = sd_bus_get_property_string(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "Backing", error, &backing);
        if (r < 0)
                return r;
        if (size != f->size || !streq(backing, f->backing ?: "anonymous"))
                return sd_bus_error_setf(error, ERROR_REGION_EXISTS,
                                         "it exists with %" PRIu64 " bytes of backing '%s', the file wants %" PRIu64
                                         " bytes of '%s'; remove it first",
                                         size, backing, f->size, f->backing ?: "anonymous");
        return apply(bus, name, path, f->mode, owner, error);
}

static int finish(const char *what, const char *name, int r, const sd_bus_error *error) {
        if (r >= 0)
                return EXIT_SUCCESS;
        (void) fprintf(stderr, "Cannot %s region %s: %s.\n", what, name,
                       sd_bus_error_is_set(error) ? error->message ?: error->name : strerror(-r));
        return EXIT_FAILURE;
}

int region_unit_start(const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(region_file_done) RegionFile f = {};
        _cleanup_(closep) int fd = -1;
        Owner owner = {};
        int r;

        if (load_file(name, &f) < 0 || resolve(&f, &owner) < 0)
                return EXIT_FAILURE;
        if (f.path) {
                fd = open(f.path, O_RDWR | O_CLOEXEC | O_NOCTTY);
                if (fd < 0)
                        return say(EXIT_FAILURE, "Cannot open Path=%s: %s.\n", f.path, strerror(errno));
        }
        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = create(bus, name, &f, &owner, fd, &error);
        if (r < 0 && sd_bus_error_has_name(&error, ERROR_REGION_EXISTS)) {
                sd_bus_error_free(&error);
                r = take_existing(bus, name, &f, &owner, &error);
        }
        return finish("make", name, r, &error);
}

int region_unit_stop(const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = call(bus, &error, NULL, "RemoveRegion", "sa{sv}", name, 0);
        if (r < 0 && sd_bus_error_has_name(&error, ERROR_REGION_BUSY)) {
                /* Units that need it have been stopped. Who is left keeps what he has; the name must be free. */
                (void) fprintf(stderr, "%s; it is removed by force.\n", error.message);
                sd_bus_error_free(&error);
                r = call(bus, &error, NULL, "RemoveRegion", "sa{sv}", name, 1, "force", "b", 1);
        }
        if (r < 0 && sd_bus_error_has_name(&error, ERROR_NO_SUCH_REGION))
                r = 0;
        return finish("remove", name, r, &error);
}

int region_unit_reload(const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(region_file_done) RegionFile f = {};
        _cleanup_(freep) char *path = NULL;
        Owner owner = {};
        int r;

        if (load_file(name, &f) < 0 || resolve(&f, &owner) < 0)
                return EXIT_FAILURE;
        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = get_path(bus, name, &path, &error);
        if (r >= 0)
                r = apply(bus, name, path, f.mode, &owner, &error);
        return finish("change", name, r, &error);
}
