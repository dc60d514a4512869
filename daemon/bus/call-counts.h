/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/*
 * How many calls of each method there were since the broker has started, and how many of them were answered with an error. The
 * methods are a fixed list, and all others together are one more entry, so that callers cannot make it grow.
 */

/* Counts calls from now on. To be called before callers_new(): then it sees a call when that is dispatched. 0 or negative errno. */
int call_counts_start(Manager *manager);

/* A call that is answered with an error of ours. Errors that the library sends for unknown methods are counted without this. */
void call_counts_error(Manager *manager, sd_bus_message *call);
/* A call that is refused before it is dispatched. */
void call_counts_refused(Manager *manager, sd_bus_message *call);

/* Appends a(stt): method, calls, errors. Returns what sd_bus_message_append() does. */
int call_counts_append(Manager *manager, sd_bus_message *reply);
