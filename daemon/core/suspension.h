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
/* Finds out at the start which holders of an earlier run have left. 0 or -ENOMEM. */
int suspension_load(Manager *manager);
