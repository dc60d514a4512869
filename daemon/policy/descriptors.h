/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Divides the descriptors that LimitNOFILE= allows. Waiting calls get a quarter of them, calls whose callers are not identified
 * yet an eighth, and leases the rest. What the broker itself has open counts with the calls. So none of them can take what
 * another needs.
 */

/* Whether a call may wait, with the descriptors that came with it. n_leases: those that are open now, one descriptor each. */
bool descriptors_left_for_call(unsigned n_leases);
/* The same for the first calls of a connection, which wait until the bus has identified it. */
bool descriptors_left_for_caller(unsigned n_leases);
/* Whether a user whose waiting calls have `mine` of these descriptors may have one more, while others have `theirs`. */
bool descriptors_left_for_user(uint64_t mine, uint64_t theirs);
/*
 * Whether a user that has n_own leases may have one more. The last eighth is reserved for root and for owners of regions, so
 * that no other user can keep them out of their own regions. Another user gets at most as many as are left.
 */
bool descriptors_left_for_lease(unsigned n_leases, uint64_t n_own, bool stranger);
