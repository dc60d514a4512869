/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Keeps calls of connections that are not identified yet, within limits. It neither answers nor dispatches them. */

#include <errno.h>
#include <stdlib.h>

#include "errors.h"
#include "model/limits.h"
#include "policy/descriptors.h"
#include "calls/held.h"
#include "calls/kept.h"

/*
 * How many calls of a connection are kept until the bus has identified it, with how much memory and how many descriptors. Users
 * are not known yet, but a bus limits the connections of each user: dbus-daemon to 256.
 */
#define HELD_MAX 64
#define HELD_BYTES_MAX (HELD_MAX * KEPT_OVERHEAD + 2 * KEPT_TEXT_MAX)
#define HELD_FDS_MAX 1
/* For all connections. */
#define HELD_ALL_BYTES_MAX ((size_t) 64 << 20)

struct HeldCall {
        STAILQ_ENTRY(HeldCall) calls;
        Kept kept;
};

void held_init(HeldCalls *held, size_t *all_bytes) {
        *held = (HeldCalls){ .all_bytes = all_bytes };
        STAILQ_INIT(&held->calls);
}

static int over_limit(const HeldCalls *held, const Kept *kept, unsigned n_leases, sd_bus_error *error) {
        if (held->n_calls >= HELD_MAX)
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "Too many calls before the bus has identified this connection: at most %d; "
                                         "wait for an answer first",
                                         HELD_MAX);
        if (kept->bytes > HELD_BYTES_MAX - held->bytes)
                return sd_bus_error_setf(
                        error, ERROR_LIMIT_EXCEEDED,
                        "Too many bytes in calls before the bus has identified this connection: at most %zu; wait for "
                        "an answer first",
                        HELD_BYTES_MAX);
        if (held->n_fds + kept->n_fds > HELD_FDS_MAX)
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "Too many descriptors in calls before the bus has identified this connection: "
                                         "at most %d; wait for an answer first",
                                         HELD_FDS_MAX);
        /* The first connections cannot take all. */
        if (!share_is_left(held->bytes + kept->bytes, *held->all_bytes - held->bytes, HELD_ALL_BYTES_MAX))
                return sd_bus_error_setf(
                        error, ERROR_LIMIT_EXCEEDED,
                        "New connections use all of their share of the broker's memory, %zu bytes; try "
                        "again later",
                        HELD_ALL_BYTES_MAX);
        if (kept->n_fds > 0 && !descriptors_left_for_caller(n_leases))
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "New connections use all of their share of the broker's descriptors, an "
                                         "eighth of LimitNOFILE= of mshared.service; try again later");
        return 0;
}

int held_add(HeldCalls *held, sd_bus_message *m, unsigned n_leases, sd_bus_error *error) {
        HeldCall *call;
        int r;

        call = calloc(1, sizeof(*call));
        if (!call)
                return -ENOMEM;
        r = kept_new(m, &call->kept, error);
        if (r >= 0)
                r = over_limit(held, &call->kept, n_leases, error);
        if (r < 0) {
                kept_done(&call->kept);
                free(call);
                return r;
        }
        STAILQ_INSERT_TAIL(&held->calls, call, calls);
        held->n_calls++;
        held->n_fds += call->kept.n_fds;
        held->bytes += call->kept.bytes;
        *held->all_bytes += call->kept.bytes;
        return 0;
}

sd_bus_message *held_first(const HeldCalls *held) {
        const HeldCall *call = STAILQ_FIRST(&held->calls);

        return call ? call->kept.m : NULL;
}

void held_drop_first(HeldCalls *held) {
        HeldCall *call = STAILQ_FIRST(&held->calls);

        STAILQ_REMOVE_HEAD(&held->calls, calls);
        held->n_calls--;
        held->n_fds -= call->kept.n_fds;
        held->bytes -= call->kept.bytes;
        *held->all_bytes -= call->kept.bytes;
        kept_done(&call->kept);
        free(call);
}

void held_drop_all(HeldCalls *held) {
        while (!STAILQ_EMPTY(&held->calls))
                held_drop_first(held);
}
