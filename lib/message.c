/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sentences that explain a failure to the caller of the library. It knows nothing about regions. */

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

const char *message_errno(int r, char *buf, size_t size) {
        return strerror_r(r < 0 ? -r : r, buf, size);
}
