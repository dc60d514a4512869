/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "model/limits.h"
#include "policy/caller.h"

/*
 * Asks polkit, without waiting for it.
 *
 *   1. A method handler calls authz_run() with a step function. The step checks its arguments and looks up its objects,
 *      changing nothing, and calls call_authorize() for each thing that needs permission.
 *   2. If polkit has to be asked, call_authorize() returns 0; the step returns 0 at once. The call is kept.
 *   3. When the answer has come, the message goes through the dispatcher again, and the step runs again from its
 *      beginning: objects are looked up anew, for they may have gone. call_authorize() now returns 1 or an error.
 *      Answers hold for exactly what was asked: if the details differ by now, the call is refused.
 *   4. The step acts only when it has all it needs, and answers the message or arranges for a later answer; it
 *      returns 1, or a negative errno with *error set.
 *
 * Questions under way are limited, as the bus limits the replies that a connection may wait for, and shared out: see places.h.
 * Others wait in the order of their coming. No polkit, an error of it, or no answer in time, mean no.
 *
 * A question that no call waits for any more is cancelled, but it counts until polkit has answered it, because the bus counts
 * it, too. If polkit has not answered AUTHZ_GRACE_USEC later, the question is lost. If all places of a user, or all places, are
 * lost, polkit hangs, and further calls are refused at once.
 */
typedef struct Authz Authz;
typedef struct Call Call;

#define AUTHZ_GRACE_USEC (5 * USEC_PER_SEC)

typedef int (*CallStep)(Call *call, void *userdata, sd_bus_error *error);

/* Borrows all; *n_leases is how many leases there are. */
int authz_new(sd_bus *bus, const Log *log, Callers *callers, Users *users, const Limits *limits,
              const unsigned *n_leases, Authz **ret);
void authz_free(Authz *authz);

/* Returns what a bus method handler has to. */
int authz_run(Authz *authz, sd_bus_message *m, CallStep step, void *userdata, sd_bus_error *error);
/* Forgets a message whose object has gone, so it will not come to authz_run() again. Does nothing if it never did. */
void authz_drop(Authz *authz, sd_bus_message *m);
/* Drops all pending calls of that connection. */
void authz_forget(Authz *authz, const char *sender);

sd_bus_message *call_message(Call *call);
const Identity *call_identity(Call *call);

/*
 * For a step that will answer later than it returns: the call's place among its user's LIMIT_USER_PENDING, which is the
 * step's to discharge from then on. 0, or negative errno with *error set.
 */
int call_take_charge(Call *call, sd_bus_error *error);

/*
 * details is a NULL-terminated list of keys and values in turn, for polkit; id says which of all things that ever had these
 * details is meant, and is for us alone. Root is not asked.
 */
int call_authorize(Call *call, const char *action, uint64_t id, const char *const *details, sd_bus_error *error);
