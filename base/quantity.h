/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The grammar of sizes and times on the command line, in the configuration, in region files and in the environment.
 * msharectl(1) documents it for users.
 *
 * A size is a whole number of bytes in decimal, optionally followed by K, M, G, T, P or E (powers of 1024, either case). A time
 * is a whole number of seconds, or of the unit after it: us, ms, s, min, h or d. Blanks, signs, fractions and anything else are
 * refused. The word "infinity" is a size (UINT64_MAX), but not a time.
 *
 * These functions use no memory but the stack, call nothing that allocates, and never block, because the preload library uses
 * them. They return 0, -EINVAL (not of that form) or -ERANGE (does not fit in 64 bits); *ret is written on success only.
 */

/* The valid forms, for messages that refuse a value. */
#define AMOUNT_FORM "a number of bytes above 0, optionally followed by K, M, G, T, P or E"
#define SPAN_FORM "a number of seconds, or a number followed by us, ms, s, min, h or d"

/* Bytes. 0 and "infinity" are sizes here; a caller that has no use for one of them refuses it. */
int parse_size(const char *s, uint64_t *ret);
/* As parse_size(), but an amount: -EINVAL for 0 and -ERANGE for "infinity" and UINT64_MAX. */
int parse_amount(const char *s, uint64_t *ret);
/* Microseconds. */
int parse_span(const char *s, uint64_t *ret);

/* The bytes of page tables that sharing saves: each sharer but the first would need tables of its own. */
uint64_t saved_bytes(uint64_t sharers, uint64_t page_tables);

/*
 * Writes the size into buf, which is returned and needs at most 32 bytes: "1.5G", or "512G" if that is exact. A size below 1K
 * is exact.
 */
const char *format_bytes(uint64_t bytes, char *buf, size_t size);
