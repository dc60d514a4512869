/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The calls to the broker that the commands share, and the wait of a start that a signal can stop. It may use the bus, and
 * knows only the broker's interface.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "errors.h"
#include "kinds.h"
#include "region-client.h"

int client_call(sd_bus *bus, sd_bus_error *error, sd_bus_message **reply, const char *method, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list ap;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, method);
        if (r < 0)
                return r;
        va_start(ap, types);
        r = sd_bus_message_appendv(m, types, ap);
        va_end(ap);
        /* No time limit, because populating may take long. An administrator may set one for the unit. */
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

int client_append_options(sd_bus_message *m, const RegionFile *f, const Owner *owner, mode_t final_mode, int fd) {
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
        if (r >= 0 && f->numa)
                r = append_option(m, "numa", "s", f->numa);
        if (r >= 0 && f->lifetime)
                r = append_option(m, "lifetime", "s", f->lifetime);
        if (r >= 0 && f->linger_set)
                r = append_option(m, "linger", "t", f->linger_usec);
        if (r >= 0 && f->label)
                r = append_option(m, "label", "s", f->label);
        if (r >= 0 && f->address_set)
                r = append_option(m, "address", "t", f->address);
        if (r >= 0 && f->maximum > 0)
                r = append_option(m, "maximum", "t", f->maximum);
        if (r >= 0 && final_mode != 0)
                r = append_option(m, "final-mode", "u", (uint32_t) final_mode);
        if (r >= 0 && fd >= 0)
                r = append_option(m, "fd", "h", fd);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int client_apply(sd_bus *bus, const char *name, const char *path, mode_t mode, const Owner *owner,
                 sd_bus_error *error) {
        uint32_t mode_now = 0, gid = 0, both;
        int r;

        r = sd_bus_get_property_trivial(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "Mode", error, 'u', &mode_now);
        if (r >= 0)
                r = sd_bus_get_property_trivial(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "GID", error, 'u', &gid);
        both = mode_now & mode;
        /*
         * If the group changes, the present group has no right afterwards. And its bits may be the mask of an access list, so
         * that it has no right before, either. So in between, the bits of the group are at most those of all users.
         */
        if (gid != owner->gid)
                both &= 0707 | (both & 07) << 3;
        if (r >= 0)
                r = client_call(bus, error, NULL, "SetRegionMode", "su", name, both);
        if (r >= 0)
                r = client_call(bus, error, NULL, "SetRegionOwner", "suu", name, owner->uid, owner->gid);
        if (r >= 0)
                r = client_call(bus, error, NULL, "SetRegionMode", "su", name, (uint32_t) mode);
        return r;
}

int client_get_path(sd_bus *bus, const char *name, char **ret, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;
        int r;

        r = client_call(bus, error, &reply, "GetRegion", "s", name);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        return r < 0 ? r : free_and_strdup(ret, path);
}

/*
 * Without msharefs, the broker knows no regions, although some may exist. A request for a region then fails with that error. No
 * region has an empty name, so requesting that has no other effect. A kernel without mshare has no granule, and certainly no
 * regions.
 */
static int check_msharefs(sd_bus *bus, sd_bus_error *error) {
        uint64_t granule = 0;
        int r;

        r = sd_bus_get_property_trivial(bus, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, "Granule", error, 't',
                                        &granule);
        if (r < 0 || granule == 0)
                return r;
        r = client_call(bus, error, NULL, "AcquireRegion", "ssa{sv}", "", access_to_string(ACCESS_READ), 0);
        if (r < 0 && sd_bus_error_has_name(error, ERROR_KERNEL_UNSUPPORTED))
                return r;
        sd_bus_error_free(error);
        return 0;
}

int client_remove_region(sd_bus *bus, const char *name, sd_bus_error *error) {
        int r;

        r = client_call(bus, error, NULL, "RemoveRegion", "sa{sv}", name, 0);
        if (r < 0 && sd_bus_error_has_name(error, ERROR_REGION_BUSY)) {
                /* The remaining sharers keep their mappings, but the name must become free. */
                (void) fprintf(stderr, "%s. Removing it by force.\n", error->message);
                sd_bus_error_free(error);
                r = client_call(bus, error, NULL, "RemoveRegion", "sa{sv}", name, 1, "force", "b", 1);
        }
        if (r < 0 && sd_bus_error_has_name(error, ERROR_NO_SUCH_REGION)) {
                sd_bus_error_free(error);
                r = check_msharefs(bus, error);
        }
        return r;
}

int client_read_created(sd_bus *bus, const char *name, uint64_t *ret, sd_bus_error *error) {
        _cleanup_(freep) char *path = NULL;
        int r;

        r = client_get_path(bus, name, &path, error);
        if (r >= 0)
                r = sd_bus_get_property_trivial(bus, BUS_NAME, path, BUS_REGION_INTERFACE, "CreatedUSec", error, 't',
                                                ret);
        if (r >= 0)
                return 1;
        if (sd_bus_error_has_names(error, ERROR_NO_SUCH_REGION, SD_BUS_ERROR_UNKNOWN_OBJECT)) {
                sd_bus_error_free(error);
                return 0;
        }
        return r;
}

int client_watch_removal(sd_bus *bus, sd_bus_slot **ret_slot, const char *name, sd_bus_message_handler_t perhaps,
                         void *userdata) {
        _cleanup_(freep) char *match = NULL;

        /* Names contain no quotes: see REGION_NAME_RULE. */
        if (asprintf(&match,
                     "type='signal',sender='" BUS_NAME "',path='" BUS_PATH "',interface='" BUS_MANAGER_INTERFACE
                     "',member='RegionRemoved',arg0='%s'",
                     name) < 0) {
                match = NULL;
                return -ENOMEM;
        }
        return sd_bus_add_match(bus, ret_slot, match, perhaps, userdata);
}

bool client_is_away(const sd_bus_error *error) {
        return sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_SERVICE_UNKNOWN,
                                      SD_BUS_ERROR_NAME_HAS_NO_OWNER, "org.freedesktop.systemd1.NoSuchUnit");
}

int client_finish(const char *what, const char *name, int r, const sd_bus_error *error) {
        if (r >= 0)
                return EXIT_SUCCESS;
        (void) fprintf(stderr, "Cannot %s region %s: %s.\n", what, name,
                       sd_bus_error_is_set(error) ? error->message ?: error->name : strerror(-r));
        return EXIT_FAILURE;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        ((Start *) userdata)->stopped = true;
        return 0;
}

void start_done(Start *s) {
        sd_bus_message_unref(s->reply);
        sd_bus_flush_close_unref(s->bus);
        sd_event_unref(s->event);
}

int start_open(Start *s) {
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigaddset(&mask, SIGINT);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        r = sd_event_new(&s->event);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGTERM, on_signal, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGINT, on_signal, s);
        if (r >= 0)
                r = sd_bus_open_system(&s->bus);
        return r < 0 ? r : sd_bus_attach_event(s->bus, s->event, 0);
}

int start_wait(Start *s, uint64_t usec) {
        uint64_t now = usec_now(CLOCK_MONOTONIC), end = usec == UINT64_MAX ? usec : now + usec;
        int r;

        while (!s->stopped && !s->reply && now < end) {
                r = sd_event_run(s->event, end == UINT64_MAX ? end : end - now);
                if (r < 0)
                        return r;
                now = usec_now(CLOCK_MONOTONIC);
        }
        return 0;
}
