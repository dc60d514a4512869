/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "manager.h"

static int get_level(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                     void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", log_level_to_string(((Manager *) userdata)->log.level));
}

static int set_level(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *value,
                     void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        const char *s;
        int r;

        r = sd_bus_message_read(value, "s", &s);
        if (r < 0)
                return r;
        r = log_level_from_string(s);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Log level '%.100s' is not known: one of emerg, alert, crit, err, warning, "
                                         "notice, info, debug is wanted", s);
        m->log.level = r;
        return 0;
}

static int get_target(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", log_target_to_string(((Manager *) userdata)->log.target));
}

static int set_target(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *value, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        const char *s;
        int r;

        r = sd_bus_message_read(value, "s", &s);
        if (r < 0)
                return r;
        r = log_target_from_string(s);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Log target '%.100s' is not known: one of journal, console, null, auto is "
                                         "wanted", s);
        m->log.target = (LogTarget) r;
        return 0;
}

static int get_identifier(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", "mshared");
}

/* What others may set, they could use to silence us: no SD_BUS_VTABLE_UNPRIVILEGED on the writable ones. */
static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", get_level, set_level, 0, 0),
        SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", get_target, set_target, 0, 0),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", get_identifier, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

int log_control_add_object(Manager *m) {
        return sd_bus_add_object_vtable(m->bus, NULL, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1",
                                        vtable, m);
}
