/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/request.h"
#include "core/region.h"
#include "kernel/kernel.h"
#include "calls/authz.h"

/*
 * Starts the creation of a region that is in the table, and sets region->creation. The call is answered when the creation is
 * over. Takes over the charge of call_take_charge() in any case. 0, or negative errno; then the caller calls region_forget().
 */
int creation_start(Region *region, Call *call, const CreateRequest *request);
/*
 * Whether the region is as a donor creates it: it belongs to the broker and has mode 0, so no user is admitted yet. If no
 * creation is under way, a broker or a donor has left it incomplete.
 */
bool creation_is_unfinished(const KernelRegion *k);
/* Kills the donor, and frees the creation without an answer. Takes NULL. */
void creation_free(Creation *creation);
/*
 * Rolls back a creation, and frees region and creation, because the broker exits. Waits for the donor to exit, until
 * deadline_usec (CLOCK_MONOTONIC).
 */
void creation_end(Creation *creation, uint64_t deadline_usec);
/* Cancels a creation; `call` is answered when nothing is left of the region. 1, or -EALREADY if it was cancelled before. */
int creation_cancel(Creation *creation, Call *call);
