/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quantity.h"

/*
 * A copy, to be freed, in which control characters, marks of direction and bytes that are not UTF-8 are \xNN, so that no name
 * or label can control the terminal. NULL without memory.
 */
char *format_printable(const char *s);

/* These write into buf and return it; format_bytes() is in quantity.h. */
/* "42% of 300G, 2.1G/s, 1min 20s left". rate is in bytes per second; if it is 0, rate and time are left out. */
const char *format_progress(double progress, uint64_t size, double rate, char *buf, size_t buf_size);
/* Microseconds since 1970, in local time. */
const char *format_time(uint64_t usec, char *buf, size_t size);
/* The name of the user or group, or its number if it has no name or if numbers are set. */
void format_ids_as_numbers(bool numbers);
const char *format_uid(uint32_t uid, char *buf, size_t size);
const char *format_gid(uint32_t gid, char *buf, size_t size);
