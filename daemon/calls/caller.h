/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "basic/log.h"
#include "model/access.h"

/*
 * Identifies callers. Before a method call is dispatched, the bus is asked for the credentials of its sender, once for each
 * connection. Calls wait for the answer outside the dispatcher, in their order. So no handler needs to ask, and none blocks. A
 * bus never gives a unique name twice, so the answer holds as long as the name exists.
 */
typedef struct Callers Callers;

/* Called when a connection has left the bus. */
typedef void (*CallerGone)(const char *sender, void *userdata);
/* Called for each call that is answered with an error instead of being dispatched. */
typedef void (*CallRefused)(sd_bus_message *call, void *userdata);

/* Installs itself on the bus, which must be started. Borrows log and n_leases, the number of leases. 0 or negative errno. */
int callers_new(sd_bus *bus, const Log *log, const unsigned *n_leases, CallerGone gone, CallRefused refused,
                void *userdata, Callers **ret);
void callers_free(Callers *callers);

/*
 * Asks the bus whether a connection still exists, even if it has not called this run of the broker. CallerGone is called if it
 * does not exist, and when it leaves. If too much is queued for the broker, the bus may lose its answer, and its message that
 * the connection has left: so call this from time to time. 1 if the bus has identified the connection before, 0 if not yet, or
 * -ENOMEM. Does not block.
 */
int callers_look_for(Callers *callers, const char *name);

/* The sender of a message that is being dispatched, borrowed; NULL if the message has no sender on the bus. */
const Identity *callers_find(Callers *callers, sd_bus_message *m);
