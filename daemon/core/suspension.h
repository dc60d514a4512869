/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/*
 * A suspended region has mode 0 because a process, its holder, populates it. The suspension ends when a mode is set. If the
 * holder leaves the bus before that, for example because it was killed, the suspension is undone: a region that existed before
 * gets its owner and mode back, and one that was created for the holder is removed.
 */

/* A step of authz_run(). Meanwhile, callers that final_mode would admit get the error RegionNotReady. */
int region_suspend(Region *region, Call *call, uint32_t final_mode, sd_bus_error *error);
/* To be called when a connection has left the bus. */
void suspension_forget(Manager *manager, const char *sender);
/*
 * Finds out which holders have left, now and as long as there are any: the bus may lose its message that a holder has left, and
 * the first try to undo a suspension may fail. 0 or -ENOMEM.
 */
int suspension_look(Manager *manager);
/* To be called when a region gets a holder, so that suspension_look() is called in time. 0 or -ENOMEM. */
int suspension_watch(Manager *manager);
