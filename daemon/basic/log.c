/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Writes log messages to the journal or to standard error. It counts the messages that each user causes, and knows nothing about
 * regions: model/region-log.c has the fields of a message about one.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* The reader of a message does not need its position in the source. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "basic/log.h"

static const char *const levels[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };
static const char *const targets[_LOG_TARGET_MAX] = { "journal", "console", "null" };

static int find_word(const char *const *table, size_t n, const char *s) {
        for (size_t i = 0; i < n; i++)
                if (streq(table[i], s))
                        return (int) i;
        return -EINVAL;
}

int log_level_from_string(const char *s) {
        return find_word(levels, ELEMENTSOF(levels), s);
}

const char *log_level_to_string(int level) {
        return levels[level];
}

int log_target_from_string(const char *s) {
        /* Names that other daemons accept for the journal. */
        if (streq(s, "auto") || streq(s, "journal-or-kmsg"))
                return LOG_TARGET_JOURNAL;
        return find_word(targets, ELEMENTSOF(targets), s);
}

const char *log_target_to_string(LogTarget target) {
        return targets[target];
}

/* All children inherit the variable, but not all have standard error in the journal. So compare the file. */
static bool stderr_is_journal(void) {
        const char *e = getenv("JOURNAL_STREAM");
        uint64_t device, inode;
        struct stat st;

        return e && sscanf(e, "%" SCNu64 ":%" SCNu64, &device, &inode) == 2 && fstat(STDERR_FILENO, &st) >= 0 &&
               st.st_dev == device && st.st_ino == inode;
}

void log_init(Log *log, const char *name, int level) {
        log->name = name;
        log->level = level;
        log->target = stderr_is_journal() ? LOG_TARGET_JOURNAL : LOG_TARGET_CONSOLE;
}

static void write_console(const Log *log, int level, const char *message) {
        (void) fprintf(stderr, "%s[%s]: %s\n", log->name, levels[level], message);
}

static void write_journal(int level, const char *message_id, const LogField *fields, size_t n, const char *message) {
        char text[2 + LOG_FIELDS_MAX][LOG_FIELD_TEXT_MAX], line[LOG_MESSAGE_MAX + sizeof("MESSAGE=")];
        struct iovec v[3 + LOG_FIELDS_MAX];
        int k = 0;

        (void) snprintf(line, sizeof(line), "MESSAGE=%s", message);
        (void) snprintf(text[0], sizeof(text[0]), "PRIORITY=%d", level);
        v[k++] = (struct iovec){ line, strlen(line) };
        v[k++] = (struct iovec){ text[0], strlen(text[0]) };
        if (message_id) {
                (void) snprintf(text[1], sizeof(text[1]), "MESSAGE_ID=%s", message_id);
                v[k++] = (struct iovec){ text[1], strlen(text[1]) };
        }
        for (size_t i = 0; i < n && i < LOG_FIELDS_MAX; i++) {
                char *t = text[2 + i];

                (void) snprintf(t, sizeof(text[2 + i]), "%s=%s", fields[i].name, fields[i].value);
                v[k++] = (struct iovec){ t, strlen(t) };
        }
        (void) sd_journal_sendv(v, k);
}

void log_entry(const Log *log, int level, const char *message_id, const LogField *fields, size_t n,
               const char *message) {
        int saved = errno;

        if (!log_has_level(log, level))
                return;
        if (log->target == LOG_TARGET_CONSOLE)
                write_console(log, level, message);
        else
                write_journal(level, message_id, fields, n, message);
        errno = saved;
}

void log_message(const Log *log, int level, const char *format, ...) {
        char message[LOG_SENTENCE_MAX];
        int saved = errno;
        va_list ap;

        if (!log_has_level(log, level))
                return;
        va_start(ap, format);
        (void) vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        log_entry(log, level, NULL, NULL, 0, message);
        errno = saved;
}

static void report_dropped(Log *log, const LogUser *u) {
        if (u->n_dropped > 0)
                log_message(log, LOG_WARNING, "Changes by user %" PRIu32 " that were not logged: %u", (uint32_t) u->uid,
                            u->n_dropped);
}

/* If there are more users, the one whose time ends first is dropped from the table. */
static LogUser *find_user(Log *log, uid_t uid) {
        LogUser *first = log->users;

        for (size_t i = 0; i < LOG_USERS_MAX; i++) {
                LogUser *u = log->users + i;

                if (u->end_usec > 0 && u->uid == uid)
                        return u;
                if (u->end_usec < first->end_usec)
                        first = u;
        }
        report_dropped(log, first);
        *first = (LogUser){ .uid = uid };
        return first;
}

bool log_has_room(Log *log, uid_t uid) {
        uint64_t now = usec_now(CLOCK_MONOTONIC);
        LogUser *u;

        if (uid == 0)
                return true;
        u = find_user(log, uid);
        if (now >= u->end_usec) {
                report_dropped(log, u);
                *u = (LogUser){ .uid = uid, .end_usec = now + LOG_CHANGES_USEC };
        }
        if (u->n < LOG_CHANGES_MAX) {
                u->n++;
                return true;
        }
        if (u->n_dropped++ == 0)
                log_message(log, LOG_WARNING,
                            "Changes by user %" PRIu32
                            ": more than %d in %d s; not logging more of them until that time is over",
                            (uint32_t) uid, LOG_CHANGES_MAX, (int) (LOG_CHANGES_USEC / USEC_PER_SEC));
        return false;
}
