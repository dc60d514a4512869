/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "basic/log.h"
#include "model/access.h"

/*
 * Identifies callers. Before a method call is dispatched, the bus is asked for the credentials of its sender, once for each
 * connection; calls wait for the answer outside the dispatcher, in their order. So no handler has to ask, and none blocks.
 * A bus never gives a unique name twice, so the answer holds as long as the name exists.
 */
typedef struct Callers Callers;

/* Called when a connection has left the bus. */
typedef void (*CallerGone)(const char *sender, void *userdata);
/* Called for each call that is answered with an error instead of being dispatched. */
typedef void (*CallRefused)(sd_bus_message *call, void *userdata);

/* Installs itself on the bus, which must be started. Borrowed: log, and n_leases, which is how many leases there are. */
int callers_new(sd_bus *bus, const Log *log, const unsigned *n_leases, CallerGone gone, CallRefused refused,
                void *userdata, Callers **ret);
void callers_free(Callers *callers);

/*
 * Asks the bus whether a connection still exists, which need not have called this run of the program. CallerGone is called if it
 * does not exist, and when it leaves. The bus may lose the answer, and its message that the connection has left, if too much is
 * queued for the broker: call this again from time to time. 1 if the bus has identified the connection before, 0 if it has not
 * answered yet, or -ENOMEM.
 */
int callers_look_for(Callers *callers, const char *name);

/* The sender of a message that is being dispatched; NULL if the message has no sender on the bus. */
const Identity *callers_find(Callers *callers, sd_bus_message *m);
