/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "basic/log.h"

/* Logs one message about a region, with a message ID that the catalog explains. Region and ID may be NULL. Keeps errno. */
void log_region(const Log *log, int level, const char *message_id, const char *region, const char *format, ...)
        _printf_(5, 6);

/* The caller that requested a change. Process and unit are only for display: the PID may have been reused. */
typedef struct Actor {
        uid_t uid;
        pid_t pid; /* 0: not known */
        char *unit; /* or NULL */
} Actor;

void actor_done(Actor *actor);

/*
 * As log_region(), for a change that a caller requested, if log_has_room(). The sentence must not end with a full stop, because
 * "by user ..." is appended to it. The entry gets the fields MSHARE_CALLER_UID=, MSHARE_CALLER_PID= and MSHARE_CALLER_UNIT=.
 * `by` may be NULL.
 */
void log_change(Log *log, int level, const char *message_id, const char *region, const Actor *by, const char *format,
                ...) _printf_(6, 7);
