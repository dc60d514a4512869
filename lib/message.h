/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_MESSAGE_H
#define MSHARE_MESSAGE_H

#include "util.h"

/*
 * Put a sentence where the caller wants it (nowhere if ret_message is NULL) and return r, so that a failure
 * can be told and returned in one statement. Replaces, and frees, what is there.
 */
int message_set(char **ret_message, int r, const char *format, ...) _printf_(3, 4);

/* The text of a negative errno, in a buffer of the caller's: strerror(3) is not for threads. */
const char *message_errno(int r, char *buf, size_t size);

#endif
