/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Writes log messages to the journal or to standard error. A message about a region has the region's name in a field, and a
 * message about a change has the user that requested it. It knows nothing else about regions.
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

void log_init(Log *log, int level) {
        log->level = level;
        log->target = stderr_is_journal() ? LOG_TARGET_JOURNAL : LOG_TARGET_CONSOLE;
}

void actor_done(Actor *actor) {
        free(actor->unit);
        *actor = (Actor){};
}

#define FIELDS_MAX 8

/* Fields of one journal entry. */
typedef struct Fields {
        struct iovec v[FIELDS_MAX];
        char text[FIELDS_MAX][320];
        int n;
} Fields;

static void add_field(Fields *f, const char *format, ...) _printf_(2, 3);

static void add_field(Fields *f, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(f->text[f->n], sizeof(f->text[f->n]), format, ap);
        va_end(ap);
        f->v[f->n] = (struct iovec){ f->text[f->n], strlen(f->text[f->n]) };
        f->n++;
}

static void add_actor(char *text, size_t size, const Actor *by) {
        size_t n = strlen(text);

        n += (size_t) snprintf(text + n, size - n, ", by user %" PRIu32, (uint32_t) by->uid);
        if (n < size && by->pid > 0)
                n += (size_t) snprintf(text + n, size - n, " (process %" PRId32 "%s%s)", (int32_t) by->pid,
                                       by->unit ? ", unit " : "", by->unit ?: "");
}

__attribute__((format(printf, 6, 0))) static void log_all(const Log *log, int level, const char *message_id,
                                                          const char *region, const Actor *by, const char *format,
                                                          va_list ap) {
        static const char prefix[] = "MESSAGE=";
        char text[1600] = "MESSAGE=", *message = text + sizeof(prefix) - 1;
        int saved = errno;
        Fields f = {};

        if (level > log->level || log->target == LOG_TARGET_NULL)
                return;
        (void) vsnprintf(message, 1024, format, ap);
        if (by)
                add_actor(message, sizeof(text) - sizeof(prefix), by);
        if (log->target == LOG_TARGET_CONSOLE) {
                (void) fprintf(stderr, "mshared[%s]: %s\n", levels[level], message);
                errno = saved;
                return;
        }
        f.v[f.n++] = (struct iovec){ text, strlen(text) };
        add_field(&f, "PRIORITY=%d", level);
        if (message_id)
                add_field(&f, "MESSAGE_ID=%s", message_id);
        if (region)
                add_field(&f, "MSHARE_REGION=%s", region);
        if (by)
                add_field(&f, "MSHARE_CALLER_UID=%" PRIu32, (uint32_t) by->uid);
        if (by && by->pid > 0)
                add_field(&f, "MSHARE_CALLER_PID=%" PRId32, (int32_t) by->pid);
        if (by && by->unit)
                add_field(&f, "MSHARE_CALLER_UNIT=%s", by->unit);
        (void) sd_journal_sendv(f.v, f.n);
        errno = saved;
}

void log_region(const Log *log, int level, const char *message_id, const char *region, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        log_all(log, level, message_id, region, NULL, format, ap);
        va_end(ap);
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

void log_change(Log *log, int level, const char *message_id, const char *region, const Actor *by, const char *format,
                ...) {
        va_list ap;

        if (by && !log_has_room(log, by->uid))
                return;
        va_start(ap, format);
        log_all(log, level, message_id, region, by, format, ap);
        va_end(ap);
}
