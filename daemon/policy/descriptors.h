/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * How the descriptors that LimitNOFILE= gives are shared out. Calls that wait have a quarter of them, calls whose callers the bus
 * has still to name half as many besides, and leases the rest, but for what the broker itself needs. So neither can take what
 * the other needs.
 */

/* Whether a call may wait, with the descriptors that came with it. n_leases: those that are open now, one descriptor each. */
bool descriptors_left_for_call(unsigned n_leases);
/* The same for the first calls of a connection, which wait until the bus has said whose it is. */
bool descriptors_left_for_caller(unsigned n_leases);
/*
 * Whether a user who has n_own leases may have one more. The last eighth of them is for root and for owners of regions, whom a
 * stranger must not keep out of what is theirs; and a stranger has at most as many as others leave over.
 */
bool descriptors_left_for_lease(unsigned n_leases, uint64_t n_own, bool stranger);
