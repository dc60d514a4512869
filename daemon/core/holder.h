/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* The text that names the caller as a holder, for the state file; to be freed. NULL without memory. */
char *holder_new(Manager *manager, Call *call);
/* The unique name of the region's holder on this bus. NULL if there is none, or if it was on an earlier bus. */
const char *holder_sender(const Region *region);
/* Whether the sender is the holder of the region. */
bool holder_is(const Region *region, const char *sender);
/*
 * To be called when a call has changed owner or mode of the region. Unless the caller is the holder, the region then stays
 * closed when the holder leaves.
 */
void holder_overrule(Region *region, Call *call);
