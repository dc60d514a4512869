/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Builds the sentences that explain a failure to the caller of the library. It knows nothing of a region but its name. */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "message.h"

int message_set(char **ret_message, int r, const char *format, ...) {
        char *text = NULL;
        va_list ap;

        if (!ret_message)
                return r;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);

        free(*ret_message);
        *ret_message = text;
        return r;
}

int message_region(char **ret_message, int r, const char *verb, const char *name, const char *format, ...) {
        _cleanup_(freep) char *reason = NULL;
        va_list ap;

        if (!ret_message)
                return r;

        va_start(ap, format);
        if (vasprintf(&reason, format, ap) < 0)
                reason = NULL;
        va_end(ap);

        if (reason)
                return message_set(ret_message, r, "Cannot %s region '%s': %s", verb, name, reason);
        free(*ret_message);
        *ret_message = NULL;
        return r;
}

const char *message_errno(int r, char *buf, size_t size) {
        return strerror_r(r < 0 ? -r : r, buf, size);
}
