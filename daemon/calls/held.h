/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

/*
 * The calls of one connection that are held until the bus has identified it, in their order. Copies of them are held, so
 * there is a limit for their number, their memory and their descriptors, and one for the memory of all connections.
 */
typedef struct HeldCall HeldCall;

typedef struct HeldCalls {
        STAILQ_HEAD(HeldList, HeldCall) calls;
        unsigned n_calls, n_fds;
        size_t bytes;
        size_t *all_bytes; /* of all connections */
} HeldCalls;

/* Borrows *all_bytes, which counts the memory of all HeldCalls. */
void held_init(HeldCalls *held, size_t *all_bytes);

/*
 * Holds a copy of m. n_leases is the number of leases, each of which has a descriptor. 0, or negative errno, with *error set if
 * a limit is reached. Does not block.
 */
int held_add(HeldCalls *held, sd_bus_message *m, unsigned n_leases, sd_bus_error *error);

/* The copy that was added first, or NULL. It is borrowed, until it is dropped. */
sd_bus_message *held_first(const HeldCalls *held);

/* Drops the call that was added first; there must be one. */
void held_drop_first(HeldCalls *held);
void held_drop_all(HeldCalls *held);
