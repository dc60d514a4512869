/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* Where in the source a message was made says nothing to its reader. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "log.h"

static const char *const levels[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };
static const char *const targets[_LOG_TARGET_MAX] = { "journal", "console", "null" };

static int find(const char *const *table, size_t n, const char *s) {
        for (size_t i = 0; i < n; i++)
                if (streq(table[i], s))
                        return (int) i;
        return -EINVAL;
}

int log_level_from_string(const char *s) {
        return find(levels, ELEMENTSOF(levels), s);
}

const char *log_level_to_string(int level) {
        return levels[level];
}

int log_target_from_string(const char *s) {
        /* The names that other daemons take for the same thing. */
        if (streq(s, "auto") || streq(s, "journal-or-kmsg"))
                return LOG_TARGET_JOURNAL;
        return find(targets, ELEMENTSOF(targets), s);
}

const char *log_target_to_string(LogTarget target) {
        return targets[target];
}

/* systemd says which file the journal reads from: the variable alone is inherited by everybody. */
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

void log_region(const Log *log, int level, const char *message_id, const char *region, const char *format, ...) {
        char text[1024], priority[32], id[64], name[300];
        struct iovec iov[5];
        int n = 0, saved = errno;
        va_list ap;

        if (level > log->level || log->target == LOG_TARGET_NULL)
                return;
        va_start(ap, format);
        n = snprintf(text, sizeof(text), "MESSAGE=");
        (void) vsnprintf(text + n, sizeof(text) - (size_t) n, format, ap);
        va_end(ap);

        if (log->target == LOG_TARGET_CONSOLE) {
                (void) fprintf(stderr, "mshared[%s]: %s\n", levels[level], text + n);
                errno = saved;
                return;
        }
        n = 0;
        iov[n++] = (struct iovec) { text, strlen(text) };
        (void) snprintf(priority, sizeof(priority), "PRIORITY=%d", level);
        iov[n++] = (struct iovec) { priority, strlen(priority) };
        if (message_id) {
                (void) snprintf(id, sizeof(id), "MESSAGE_ID=%s", message_id);
                iov[n++] = (struct iovec) { id, strlen(id) };
        }
        if (region) {
                (void) snprintf(name, sizeof(name), "MSHARE_REGION=%s", region);
                iov[n++] = (struct iovec) { name, strlen(name) };
        }
        (void) sd_journal_sendv(iov, n);
        errno = saved;
}
