/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The object org.freedesktop.LogControl1, through which systemctl reads and changes the log level and the log target.
 * It knows nothing about regions.
 */

#include <errno.h>

#include "bus/log-control.h"
#include "core/manager.h"

static int get_level(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", log_level_to_string(((Manager *) userdata)->log.level));
}

static const Identity *current_caller(Manager *m) {
        sd_bus_message *message = sd_bus_get_current_message(m->bus);

        return message ? callers_find(m->callers, message) : NULL;
}

static int get_target(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", log_target_to_string(((Manager *) userdata)->log.target));
}

/*
 * For a property that the vtable marks as privileged, sd-bus asks the bus for the sender's credentials and blocks meanwhile, so
 * it is not marked. The sender's user is known already, and the core checks it.
 */
static int set_word(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *value,
                    void *userdata, sd_bus_error *error) {
        bool level = streq(property, "LogLevel");
        const char *what = level ? "log level" : "log target", *s;
        Manager *m = userdata;
        int r, k;

        r = sd_bus_message_read(value, "s", &s);
        if (r < 0)
                return r;
        r = level ? log_level_from_string(s) : log_target_from_string(s);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Invalid %s '%.100s': expected one of %s",
                                         what, s, level ? LOG_LEVEL_WORDS : "journal, console, null, auto");
        k = manager_permit_log_change(m, current_caller(m), what, s, error);
        if (k < 0)
                return k;
        if (level)
                m->log.level = r;
        else
                m->log.target = (LogTarget) r;
        return 0;
}

static int get_identifier(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", "mshared");
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_level, set_word, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", get_target, set_word, 0, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", get_identifier, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

int log_control_add_object(Manager *m) {
        return sd_bus_add_object_vtable(m->bus, NULL, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1",
                                        vtable, m);
}
