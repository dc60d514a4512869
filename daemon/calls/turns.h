/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "calls/caller.h"
#include "calls/context.h"

/*
 * Calls whose answers take long, such as a list of thousands of leases. All calls arrive on one connection, one after the
 * other, so a user that sends a hundred such calls at once would make all others wait. Such calls are put aside before they are
 * dispatched. They are dispatched one at a time, when no other call has arrived and the last answer has been sent, one user
 * after the other.
 *
 * A user can have as many calls put aside as LIMIT_USER_PENDING says. They are counted apart from calls that wait for polkit or
 * for a donor, so that a user with such calls can still list regions.
 */
typedef struct Turns Turns;

typedef struct SlowCall {
        const char *interface, *member;
        const char *path; /* NULL: any */
} SlowCall;

/*
 * Installs itself on the bus, which must be attached to the event loop later. Call this before callers_new(). Borrows all
 * arguments; *callers must be set when the first call arrives, and an empty entry ends `calls`. 0 or negative errno.
 */
int turns_new(const CallContext *context, Callers *const *callers, const SlowCall *calls, CallRefused refused,
              void *userdata, Turns **ret);
void turns_free(Turns *turns);

/* Drops the calls of that connection. */
void turns_forget(Turns *turns, const char *sender);
