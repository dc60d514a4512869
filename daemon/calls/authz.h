/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "calls/caller.h"
#include "calls/context.h"
#include "calls/polkit.h"
#include "model/region-log.h"

/*
 * Calls that need polkit's permission. The broker never waits for polkit:
 *
 *   1. A method handler calls authz_run() with a step function. The step checks its arguments and looks up its objects,
 *      changing nothing, and calls call_authorize() for each thing that needs permission.
 *   2. If polkit must be asked, call_authorize() returns 0; the step returns 0 at once. The call is kept.
 *   3. When the answer has come, the message goes through the dispatcher again, and the step runs again from its
 *      beginning: objects are looked up again, because they may have gone. call_authorize() now returns 1 or an error.
 *      Answers hold for exactly what was asked: if the details differ by now, the call is refused.
 *   4. The step acts only when it has all it needs, and answers the message or arranges for a later answer; it
 *      returns 1, or a negative errno with *error set.
 *
 * Calls whose question has no place yet wait in the order of their arrival: see polkit.h.
 */
typedef struct Authz Authz;
typedef struct Call Call;

typedef int (*CallStep)(Call *call, void *userdata, sd_bus_error *error);

/*
 * Borrows all arguments but the context itself. The counts only grow, except for the number of waiting calls. 0 or
 * -ENOMEM.
 */
int authz_new(const CallContext *context, Callers *callers, PolkitCounts *counts, Authz **ret);
/* Drops all calls without an answer. Takes NULL. */
void authz_free(Authz *authz);

/* Runs the step for a call, now and again after polkit's answer. Returns what a bus method handler must return. */
int authz_run(Authz *authz, sd_bus_message *m, CallStep step, void *userdata, sd_bus_error *error);
/*
 * Drops a message that will not reach authz_run() again, because its object is gone. Does nothing for a message that has never
 * reached it.
 */
void authz_drop(Authz *authz, sd_bus_message *m);
/* Whether the message is waiting, or has waited and is being dispatched again. */
bool authz_has(Authz *authz, sd_bus_message *m);
/* Drops all pending calls of that connection. */
void authz_forget(Authz *authz, const char *sender);

/* These are borrowed from the call. */
sd_bus_message *call_message(Call *call);
const char *call_sender(Call *call);
const Identity *call_identity(Call *call);
/* The caller for the log: user, process and unit. Free it with actor_done(). */
void call_actor(Call *call, Actor *ret);

/*
 * For a step that answers after it has returned: charges the call to its user's LIMIT_USER_PENDING. The step must discharge it
 * later. 0, or negative errno with *error set.
 */
int call_take_charge(Call *call, sd_bus_error *error);

/*
 * Asks polkit whether the caller may do the action; root may, without a question. details is a NULL-terminated list of
 * alternating keys and values, for polkit. id distinguishes objects with the same details; polkit does not see it. action is
 * borrowed until the call is over. 1: permitted; 0: polkit is being asked, and the step must return 0; or negative errno with
 * *error set. Does not block.
 */
int call_authorize(Call *call, const char *action, uint64_t id, const char *const *details, sd_bus_error *error);
