/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* The text that names the caller as a holder, to be freed, or NULL without memory. From now on the broker looks for it. */
char *holder_new(Manager *manager, Call *call);
/*
 * Asks the bus for all holders, now and as long as there are any, because the bus may lose its message that a holder has left.
 * Callers.gone is called for those that have. 0 or -ENOMEM.
 */
int holders_look(Manager *manager);
/* Whether the sender is the holder of the region. */
bool holder_is(const Region *region, const char *sender);
/*
 * To be called when a call has changed owner or mode of the region. Unless the caller is the holder, the region then stays
 * closed when the holder leaves.
 */
void holder_overrule(Region *region, Call *call);
/* Writes the state file after a change of the holder or of what belongs to it. A failure is logged. */
void holder_save(Region *region);
