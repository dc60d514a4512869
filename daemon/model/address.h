/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct AddressRange {
        uint64_t start, length; /* bytes */
} AddressRange;

/*
 * The ends of user space with four and with five levels of page tables. The last page below each belongs to no process, and
 * windows are whole granules, so no window can contain the last granule. Addresses above the first are used only if a caller
 * requests them.
 */
#define ADDRESS_LOW_END (UINT64_C(1) << 47)
#define ADDRESS_HIGH_END (UINT64_C(1) << 56)

/* The bytes that a page of the upper page tables spans. */
#define ADDRESS_TABLE_SPAN (UINT64_C(1) << 39)

/* Rounds size up to whole granules. Returns 0, or -ERANGE if that overflows or size is 0. */
int address_round_up(uint64_t size, uint64_t granule, uint64_t *ret);

/* The first of ranges that [start, start+length) overlaps, or NULL. */
const AddressRange *address_conflict(const AddressRange *ranges, size_t n, uint64_t start, uint64_t length);

/* Whether a window can be there: aligned, not at zero, inside user space. 0, -EINVAL (not aligned) or -ERANGE. */
int address_check(uint64_t start, uint64_t length, uint64_t granule);

/* The bytes of all default addresses, and those of them that lie in a window. */
uint64_t address_default_size(void);
uint64_t address_default_part(uint64_t start, uint64_t length);

/*
 * Picks an address for a window of length bytes: one that overlaps none of ranges, that no usual process uses for its own
 * purposes, and at which the window costs its sharers the fewest page tables. Chooses among all equally good addresses by all
 * 64 bits of random, so that a user cannot conclude from the addresses of its own regions where others are. Returns 0, -ENOSPC
 * or -ENOMEM.
 */
int address_pick(const AddressRange *ranges, size_t n, uint64_t length, uint64_t granule, uint64_t random,
                 uint64_t *ret);
