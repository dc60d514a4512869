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

/* Bytes, with the NUL: of a sentence, and with what is appended to it; what is longer is cut off. */
#define LOG_SENTENCE_MAX 1024
#define LOG_MESSAGE_MAX 1592
/* Other fields of a message, and bytes of each. */
#define LOG_FIELDS_MAX 4
#define LOG_FIELD_TEXT_MAX 320

typedef struct Log {
        const char *name; /* of the program, before messages on standard error; static */
        int level; /* messages above it are dropped */
        LogTarget target;
        LogUser users[LOG_USERS_MAX];
} Log;

/* Logs to the journal if standard error goes there ($JOURNAL_STREAM of systemd says so), else to standard error. */
void log_init(Log *log, const char *name, int level);

/* For messages that refuse a word. */
#define LOG_LEVEL_WORDS "emerg, alert, crit, err, warning, notice, info, debug"

/* -EINVAL: there is no such word. The words are static. */
int log_level_from_string(const char *s);
const char *log_level_to_string(int level);
int log_target_from_string(const char *s);
const char *log_target_to_string(LogTarget target);

/* Whether messages of this level are written anywhere. */
static inline bool log_has_level(const Log *log, int level) {
        return level <= log->level && log->target != LOG_TARGET_NULL;
}

/* Logs one message. Keeps errno. */
void log_message(const Log *log, int level, const char *format, ...) _printf_(3, 4);

/* Another field of a journal entry. */
typedef struct LogField {
        const char *name, *value;
} LogField;

/*
 * Logs one message with n other fields, which only the journal gets, and with a message ID that the catalog explains, or NULL.
 * Keeps errno.
 */
void log_entry(const Log *log, int level, const char *message_id, const LogField *fields, size_t n,
               const char *message);

/*
 * Whether to log one more message that this user has caused. The journal takes a limited number of messages from a service and
 * drops the rest. Without a limit for each user, a user that changes its region all the time would keep the changes of others
 * out of the journal. Messages beyond the limit are counted, and their number is logged. Root has no limit.
 */
bool log_has_room(Log *log, uid_t uid);
