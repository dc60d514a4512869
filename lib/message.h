/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "util.h"

/*
 * Stores a message in *ret_message, unless ret_message is NULL, and frees the previous one. Returns r, so that a function can
 * report a failure and return in one statement.
 */
int message_set(char **ret_message, int r, const char *format, ...) _printf_(3, 4);

/* The same for a sentence about a region: Cannot VERB region "NAME": REASON. */
int message_region(char **ret_message, int r, const char *verb, const char *name, const char *format, ...)
        _printf_(5, 6);

/* The text of a negative errno, in the caller's buffer: strerror(3) is not thread-safe. */
const char *message_errno(int r, char *buf, size_t size);
