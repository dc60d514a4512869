/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Log messages about regions: the region's name is a field of the journal entry, and a message about a change names the user that
 * requested it. It does not know where messages go.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "model/region-log.h"

void actor_done(Actor *actor) {
        free(actor->unit);
        *actor = (Actor){};
}

static void add_actor(char *text, size_t size, const Actor *by) {
        size_t n = strlen(text);

        n += (size_t) snprintf(text + n, size - n, ", by user %" PRIu32, (uint32_t) by->uid);
        if (n < size && by->pid > 0)
                n += (size_t) snprintf(text + n, size - n, " (process %" PRId32 "%s%s)", (int32_t) by->pid,
                                       by->unit ? ", unit " : "", by->unit ?: "");
}

static void log_all(const Log *log, int level, const char *message_id, const char *region, const Actor *by,
                    const char *format, va_list ap) __attribute__((format(printf, 6, 0)));

static void log_all(const Log *log, int level, const char *message_id, const char *region, const Actor *by,
                    const char *format, va_list ap) {
        char message[LOG_MESSAGE_MAX], uid[16], pid[16];
        LogField fields[LOG_FIELDS_MAX];
        int saved = errno;
        size_t n = 0;

        if (!log_has_level(log, level))
                return;
        (void) vsnprintf(message, LOG_SENTENCE_MAX, format, ap);
        if (region)
                fields[n++] = (LogField){ "MSHARE_REGION", region };
        if (by) {
                add_actor(message, sizeof(message), by);
                (void) snprintf(uid, sizeof(uid), "%" PRIu32, (uint32_t) by->uid);
                fields[n++] = (LogField){ "MSHARE_CALLER_UID", uid };
        }
        if (by && by->pid > 0) {
                (void) snprintf(pid, sizeof(pid), "%" PRId32, (int32_t) by->pid);
                fields[n++] = (LogField){ "MSHARE_CALLER_PID", pid };
        }
        if (by && by->unit)
                fields[n++] = (LogField){ "MSHARE_CALLER_UNIT", by->unit };
        log_entry(log, level, message_id, fields, n, message);
        errno = saved;
}

void log_region(const Log *log, int level, const char *message_id, const char *region, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        log_all(log, level, message_id, region, NULL, format, ap);
        va_end(ap);
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
