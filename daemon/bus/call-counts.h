/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus/face-types.h"
#include "core/manager.h"

/*
 * Counts calls since the start of the broker by method, and those among them that were answered with an error. The list of
 * methods is fixed. All other names share one entry, so that callers cannot make the list grow.
 */

/*
 * Starts counting, in manager->face, which frees the counts. An empty entry ends the list of the broker's own interfaces, which
 * is borrowed; those of the library are counted as well. Call this before callers_new(), so that calls are counted when they
 * are dispatched. 0 or negative errno.
 */
int call_counts_start(Manager *manager, const FaceInterface *interfaces);

/*
 * Counts an error with which the broker answers. Errors with which the library answers, for unknown methods, are counted
 * without this.
 */
void call_counts_error(Manager *manager, sd_bus_message *call);
/* Counts a call that is refused before it is dispatched. */
void call_counts_refused(Manager *manager, sd_bus_message *call);

/* Appends a(stt): method, calls, errors. Returns what sd_bus_message_append() does. */
int call_counts_append(Manager *manager, sd_bus_message *reply);
