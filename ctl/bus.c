/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The connection to the broker, calls to its manager object, and the messages and exit statuses of calls that fail. It knows no
 * method but GetRegion.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "bus.h"
#include "call.h"
#include "errors.h"
#include "format.h"
#include "util.h"

static const struct {
        const char *name;
        ExitStatus status;
} error_statuses[] = {
        { ERROR_NO_SUCH_REGION, STATUS_NO_REGION },
        { ERROR_KERNEL_UNSUPPORTED, STATUS_UNSUPPORTED },
        { SD_BUS_ERROR_ACCESS_DENIED, STATUS_DENIED },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, STATUS_DENIED },
        { SD_BUS_ERROR_SERVICE_UNKNOWN, STATUS_NO_BROKER },
        { SD_BUS_ERROR_NAME_HAS_NO_OWNER, STATUS_NO_BROKER },
        { SD_BUS_ERROR_NO_REPLY, STATUS_NO_BROKER },
        { SD_BUS_ERROR_TIMEOUT, STATUS_NO_BROKER },
        { SD_BUS_ERROR_DISCONNECTED, STATUS_NO_BROKER },
};

int bus_out_of_memory(void) {
        complain("Out of memory");
        return STATUS_FAILED;
}

int bus_message_failed(const char *what, int r) {
        if (r == -ENOMEM)
                return bus_out_of_memory();
        if (r == -EINVAL)
                complain("%s: names and texts must be valid UTF-8", what);
        else
                complain("%s: the broker's answer is not valid: %s", what, strerror(-r));
        return STATUS_FAILED;
}

int bus_connect(const Arguments *a, sd_bus **ret) {
        int r;

        if (a->host)
                r = sd_bus_open_system_remote(ret, a->host);
        else if (a->machine)
                r = sd_bus_open_system_machine(ret, a->machine);
        else
                r = sd_bus_open_system_with_description(ret, "msharectl");
        if (r >= 0) {
                /* On another machine, users and groups may have other names. */
                format_ids_as_numbers(a->host || a->machine);
                return STATUS_OK;
        }
        if (a->host || a->machine)
                complain("Cannot connect to the system bus of %s: %s", a->host ?: a->machine, strerror(-r));
        else
                complain("Cannot connect to the system bus: %s", strerror(-r));
        return STATUS_NO_BROKER;
}

int bus_new_call(sd_bus *bus, const char *method, sd_bus_message **ret) {
        int r;

        r = sd_bus_message_new_method_call(bus, ret, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, method);
        return r < 0 ? bus_message_failed(method, r) : STATUS_OK;
}

int bus_call_failed(const char *what, const sd_bus_error *error, int r) {
        ExitStatus status = STATUS_FAILED;
        size_t i;

        for (i = 0; error->name && i < ELEMENTSOF(error_statuses); i++)
                if (streq(error->name, error_statuses[i].name)) {
                        status = error_statuses[i].status;
                        break;
                }
        /* The bus is gone, or the connection to another host. */
        if (r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE)
                status = STATUS_NO_BROKER;

        if (sd_bus_error_has_names(error, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                complain("%s: the broker is not running (systemctl start mshared)", what);
        else if (r == -ENOTCONN || r == -ECONNRESET || r == -EPIPE)
                complain("%s: there is no connection to the bus", what);
        else if (sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
                complain("%s: the broker did not answer", what);
        else
                complain("%s: %s", what, error->message && error->message[0] ? error->message : strerror(-r));
        return status;
}

int bus_call(sd_bus *bus, sd_bus_message *m, bool action, const Arguments *a, const char *what,
             sd_bus_message **reply) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(agent_close) Agent agent = AGENT_NONE;
        int r;

        if (action) {
                agent_open(&agent, a->ask_password);
                r = sd_bus_message_set_allow_interactive_authorization(m, a->ask_password);
                if (r < 0)
                        return bus_message_failed(what, r);
        }

        r = action ? call_and_wait(bus, m, NULL, NULL, &error, reply) : sd_bus_call(bus, m, 0, &error, reply);
        return r < 0 ? bus_call_failed(what, &error, r) : STATUS_OK;
}

int bus_region_path(sd_bus *bus, const char *name, const Arguments *a, const char *what, char **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *path;
        int r;

        r = bus_new_call(bus, "GetRegion", &m);
        if (r != STATUS_OK)
                return r;
        r = sd_bus_message_append(m, "s", name);
        if (r < 0)
                return bus_message_failed(what, r);
        r = bus_call(bus, m, false, a, what, &reply);
        if (r != STATUS_OK)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return bus_message_failed(what, r);
        *ret = strdup(path);
        return *ret ? STATUS_OK : bus_out_of_memory();
}
