/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Asks the broker for a lease and a region's file, on a connection of its own that it closes afterwards. It may use the bus,
 * but must not attach anything.
 */

#include <fcntl.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "broker-client.h"
#include "errors.h"
#include "message.h"
#include "names.h"
#include "util.h"

#define NSEC_PER_USEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
/* sd-bus's time limit for an answer; also how long to wait for a free connection to the bus. */
#define TIMEOUT_DEFAULT_USEC (25 * USEC_PER_SEC)
#define DELAY_MIN_USEC UINT64_C(5000)
#define DELAY_MAX_USEC UINT64_C(200000)

static const struct {
        const char *name;
        int error;
} broker_errors[] = {
        { ERROR_NO_SUCH_REGION, ENOENT },
        { ERROR_REGION_EXISTS, EEXIST },
        { ERROR_REGION_BUSY, EBUSY },
        { ERROR_REGION_NOT_READY, EAGAIN },
        { ERROR_INVALID_NAME, EINVAL },
        { ERROR_INVALID_SIZE, EINVAL },
        { ERROR_ADDRESS_IN_USE, EADDRINUSE },
        { ERROR_NO_ADDRESS_SPACE, EADDRNOTAVAIL },
        { ERROR_KERNEL_UNSUPPORTED, ENOSYS },
        { ERROR_LIMIT_EXCEEDED, EDQUOT },
        { SD_BUS_ERROR_ACCESS_DENIED, EACCES },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, EACCES },
        { SD_BUS_ERROR_INVALID_ARGS, EINVAL },
        { SD_BUS_ERROR_SERVICE_UNKNOWN, EHOSTDOWN },
        { SD_BUS_ERROR_NAME_HAS_NO_OWNER, EHOSTDOWN },
        { SD_BUS_ERROR_NO_REPLY, ETIMEDOUT },
        { SD_BUS_ERROR_TIMEOUT, ETIMEDOUT },
        { SD_BUS_ERROR_LIMITS_EXCEEDED, EUSERS },
};

/* A call failed: use the broker's message if it sent one, else our own. */
static int call_failed(const char *name, int r, const sd_bus_error *error, char **ret_message) {
        char buf[128];
        size_t i;

        for (i = 0; error->name && i < ELEMENTSOF(broker_errors); i++)
                if (streq(error->name, broker_errors[i].name)) {
                        r = -broker_errors[i].error;
                        break;
                }

        /* sd-bus returns this if the bus answers our Hello with "too many connections". */
        if (r == -ENOBUFS)
                r = -EUSERS;

        if (r == -EUSERS)
                return message_region(ret_message, r, "acquire", name,
                                      "the system bus has no room for another connection or call of this user");
        /* The error of a call on a connection that the bus has closed. */
        if (r == -ENOTCONN)
                return message_region(
                        ret_message, r, "acquire", name,
                        "the system bus has closed the connection, as dbus-daemon does if the user is one "
                        "of DynamicUser=; see mshared(8)");
        if (r == -EHOSTDOWN)
                return message_region(ret_message, r, "acquire", name,
                                      "the broker is not running (systemctl start mshared)");
        if (r == -ETIMEDOUT)
                return message_region(ret_message, r, "acquire", name, "the broker did not answer in time");

        return message_region(ret_message, r, "acquire", name, "%s",
                              error->message ? error->message : message_errno(r, buf, sizeof(buf)));
}

void broker_lease_done(BrokerLease *lease) {
        free(lease->backing);
        own_fd_close(&lease->lease);
        own_fd_close(&lease->region);
        *lease = BROKER_LEASE_NONE;
}

/* The message owns its descriptors. */
static int keep_fd(OwnFd *ret, int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3), r;

        if (copy < 0)
                return -xerrno();
        r = own_fd_set(ret, copy);
        if (r < 0)
                (void) safe_close(copy);
        return r;
}

/* What broker_acquire() was asked for. */
typedef struct Request {
        const char *name, *access;
        uint64_t timeout_usec;
        bool interactive;
} Request;

/* OpenRegion, or AcquireRegion, which is the same without the region's file. -ENOTTY: the broker does not know OpenRegion. */
static int call_acquire(sd_bus *bus, const char *member, const Request *request, BrokerLease *lease,
                        char **ret_message) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        bool open = streq(member, "OpenRegion");
        const char *name = request->name;
        int fd, region = -1, r;

        r = sd_bus_message_new_method_call(bus, &m, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, member);
        if (r < 0)
                return call_failed(name, r, &error, ret_message);

        r = sd_bus_message_set_allow_interactive_authorization(m, request->interactive);
        if (r < 0)
                return call_failed(name, r, &error, ret_message);

        r = sd_bus_message_append(m, "ssa{sv}", name, request->access, 0);
        if (r == -EINVAL)
                return message_region(ret_message, r, "acquire", name, "a name must be valid UTF-8");
        if (r < 0)
                return call_failed(name, r, &error, ret_message);

        r = sd_bus_call(bus, m, request->timeout_usec, &error, &reply);
        if (r < 0 && open && sd_bus_error_has_name(&error, SD_BUS_ERROR_UNKNOWN_METHOD))
                return -ENOTTY;
        if (r < 0)
                return call_failed(name, r, &error, ret_message);

        r = open ? sd_bus_message_read(reply, "tthh", &lease->address, &lease->length, &fd, &region)
                 : sd_bus_message_read(reply, "tth", &lease->address, &lease->length, &fd);
        if (r < 0)
                return message_region(ret_message, -EBADMSG, "acquire", name, "the broker's answer is invalid");

        r = keep_fd(&lease->lease, fd);
        if (r >= 0 && open)
                r = keep_fd(&lease->region, region);
        return r < 0 ? call_failed(name, r, &error, ret_message) : 0;
}

static int read_properties(sd_bus_message *reply, BrokerLease *lease) {
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                const char *key, *s;

                r = sd_bus_message_read(reply, "s", &key);
                if (r < 0)
                        return r;

                if (streq(key, "Size"))
                        r = sd_bus_message_read(reply, "v", "t", &lease->size);
                else if (streq(key, "Backing")) {
                        r = sd_bus_message_read(reply, "v", "s", &s);
                        if (r >= 0) {
                                free(lease->backing);
                                lease->backing = strdup(s);
                                if (!lease->backing)
                                        r = -ENOMEM;
                        }
                } else
                        r = sd_bus_message_skip(reply, "v");
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(reply);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        return lease->backing ? 0 : -EBADMSG;
}

static int call_properties(sd_bus *bus, const Request *request, BrokerLease *lease, char **ret_message) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(freep) char *path = NULL;
        const char *name = request->name;
        int r;

        r = sd_bus_path_encode(BUS_REGION_PATH, name, &path);
        if (r < 0)
                return call_failed(name, r, &error, ret_message);

        r = sd_bus_message_new_method_call(bus, &m, BUS_NAME, path, "org.freedesktop.DBus.Properties", "GetAll");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", BUS_REGION_INTERFACE);
        if (r >= 0)
                r = sd_bus_call(bus, m, request->timeout_usec, &error, &reply);
        if (r < 0)
                return call_failed(name, r, &error, ret_message);

        r = read_properties(reply, lease);
        if (r < 0)
                return message_region(ret_message, r == -ENOMEM ? r : -EBADMSG, "acquire", name,
                                      "the broker did not return its size and backing");
        return 0;
}

static int try_acquire(const Request *request, BrokerLease *ret, char **ret_message) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        BrokerLease lease = BROKER_LEASE_NONE;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *name = request->name;
        char buf[128];
        int r;

        /* A connection of its own, never the thread's default one, which the caller may be using. */
        r = sd_bus_open_system_with_description(&bus, "libmshare");
        /* The bus does not accept connections fast enough. */
        if (r == -EAGAIN)
                return call_failed(name, -EUSERS, &error, ret_message);
        if (r < 0)
                return message_region(ret_message, r, "acquire", name, "cannot connect to the system bus: %s",
                                      message_errno(r, buf, sizeof(buf)));

        r = call_acquire(bus, "OpenRegion", request, &lease, ret_message);
        if (r == -ENOTTY)
                r = call_acquire(bus, "AcquireRegion", request, &lease, ret_message);
        if (r >= 0)
                r = call_properties(bus, request, &lease, ret_message);
        if (r < 0) {
                broker_lease_done(&lease);
                return r;
        }

        *ret = lease;
        return 0;
}

static uint64_t now_usec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / NSEC_PER_USEC;
}

/* Waits at least half of that time; the rest is random, so that clients that were refused together do not retry together. */
static void wait_about(uint64_t usec) {
        uint64_t part = now_usec() * UINT64_C(2654435761) ^ (uint64_t) getpid() * UINT64_C(40503);
        struct timespec ts;

        usec = usec / 2 + part % (usec / 2 + 1);
        ts = (struct timespec){
                .tv_sec = (time_t) (usec / USEC_PER_SEC),
                .tv_nsec = (long) (usec % USEC_PER_SEC * NSEC_PER_USEC),
        };
        (void) nanosleep(&ts, NULL);
}

int broker_acquire(const char *name, const char *access, uint64_t timeout_usec, bool interactive, BrokerLease *ret,
                   char **ret_message) {
        const Request request = {
                .name = name,
                .access = access,
                .timeout_usec = timeout_usec,
                .interactive = interactive,
        };
        uint64_t start = now_usec(), delay = DELAY_MIN_USEC;
        /* A wait without limit is for passwords. A bus that stays full is an error after the default time. */
        uint64_t patience = timeout_usec > 0 && timeout_usec < UINT64_MAX ? timeout_usec : TIMEOUT_DEFAULT_USEC;
        int r;

        /* By default a bus allows 256 connections of a user. Those of the library are short, so one will be free soon. */
        for (;;) {
                r = try_acquire(&request, ret, ret_message);
                if (r != -EUSERS || now_usec() - start >= patience)
                        break;
                wait_about(delay);
                delay = delay < DELAY_MAX_USEC / 2 ? delay * 2 : DELAY_MAX_USEC;
        }

        if (r >= 0 && ret_message) {
                free(*ret_message);
                *ret_message = NULL;
        }
        return r;
}
