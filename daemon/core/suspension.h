/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/*
 * A suspended region has mode 0, because a process populates it: its holder. It lasts until a mode is set. If the holder leaves the
 * bus before, killed for example, the region is as it was: a region that was there before has its owner and mode again, and one that was
 * created for it is removed.
 */

/* A step of authz_run(). Callers that final_mode would admit get the error RegionNotReady. */
int region_suspend(Region *region, Call *call, uint32_t final_mode, sd_bus_error *error);
/* The holder of a region that the call creates, to be freed, or NULL without memory. */
char *suspension_holder(Manager *manager, Call *call);
/* The call has changed owner or mode of the region. If it is not the holder's, the region does not open when the holder leaves. */
void suspension_overrule(Region *region, Call *call);
/* A connection has left the bus. */
void suspension_forget(Manager *manager, const char *sender);
/* At the start: finds out which of the holders that an earlier run has known have left. */
void suspension_load(Manager *manager);
