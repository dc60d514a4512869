/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>
#include <syslog.h>

#include "basic/util.h"

typedef enum LogTarget {
        LOG_TARGET_JOURNAL,
        LOG_TARGET_CONSOLE, /* standard error */
        LOG_TARGET_NULL,
        _LOG_TARGET_MAX,
} LogTarget;

/* Limits of log_has_room(): messages of one user in LOG_CHANGES_USEC, and users whose messages are counted at a time. */
#define LOG_CHANGES_MAX 500
#define LOG_CHANGES_USEC (60 * USEC_PER_SEC)
#define LOG_USERS_MAX 64

typedef struct LogUser {
        uid_t uid;
        uint64_t end_usec; /* CLOCK_MONOTONIC; 0: not used */
        unsigned n, n_dropped;
} LogUser;

typedef struct Log {
        int level; /* messages above it are dropped */
        LogTarget target;
        LogUser users[LOG_USERS_MAX];
} Log;

/* Logs to the journal if standard error goes there ($JOURNAL_STREAM of systemd says so), else to standard error. */
void log_init(Log *log, int level);

/* For messages that refuse a word. */
#define LOG_LEVEL_WORDS "emerg, alert, crit, err, warning, notice, info, debug"

/* -EINVAL: there is no such word. The words are static. */
int log_level_from_string(const char *s);
const char *log_level_to_string(int level);
int log_target_from_string(const char *s);
const char *log_target_to_string(LogTarget target);

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
 * Whether to log one more message that this user has caused. The journal takes a limited number of messages from a service and
 * drops the rest. Without a limit for each user, a user that changes its region all the time would keep the changes of others
 * out of the journal. Messages beyond the limit are counted, and their number is logged. Root has no limit.
 */
bool log_has_room(Log *log, uid_t uid);

/*
 * As log_region(), for a change that a caller requested, if log_has_room(). The sentence must not end with a full stop, because
 * "by user ..." is appended to it. The entry gets the fields MSHARE_CALLER_UID=, MSHARE_CALLER_PID= and MSHARE_CALLER_UNIT=.
 * `by` may be NULL.
 */
void log_change(Log *log, int level, const char *message_id, const char *region, const Actor *by, const char *format,
                ...) _printf_(6, 7);

#define log_message(log, level, ...) log_region((log), (level), NULL, NULL, __VA_ARGS__)
