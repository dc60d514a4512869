/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Prints errors to standard error. It does not choose the exit status. */

#include <stdarg.h>
#include <stdio.h>

#include "complain.h"

void complain(const char *format, ...) {
        _cleanup_(freep) char *text = NULL;
        va_list ap;
        int r;

        (void) fflush(stdout);
        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                text = NULL;
        /* With one write, so that output of other processes does not mix with it. */
        (void) fprintf(stderr, "msharectl: %s\n", text ?: "Out of memory");
}
