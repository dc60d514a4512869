/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Writes JSON. This is too little for a dependency, and libsystemd 252 does not export its JSON functions. */

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "util.h"

#define INDENT 8

char *json_string(const char *s) {
        static const char hex[] = "0123456789abcdef";
        const unsigned char *p;
        char *buf, *q;

        /* At worst each byte becomes \u00xx. */
        buf = malloc(strlen(s) * 6 + 3);
        if (!buf)
                return NULL;

        q = buf;
        *q++ = '"';
        for (p = (const unsigned char *) s; *p; p++)
                if (*p == '"' || *p == '\\') {
                        *q++ = '\\';
                        *q++ = (char) *p;
                } else if (*p < 0x20 || *p == 0x7f) {
                        memcpy(q, "\\u00", 4);
                        q[4] = hex[*p >> 4];
                        q[5] = hex[*p & 15];
                        q += 6;
                } else
                        *q++ = (char) *p;
        *q++ = '"';
        *q = '\0';
        return buf;
}

void json_print_object(FILE *f, JsonMode mode, unsigned int depth, const JsonMember *members, size_t n) {
        const char *separator = mode == JSON_PRETTY ? " : " : ":";
        int indent = mode == JSON_PRETTY ? (int) (depth + 1) * INDENT : 0;
        size_t i;

        (void) fputc('{', f);
        for (i = 0; i < n; i++)
                (void) fprintf(f, "%s%s%*s\"%s\"%s%s", i > 0 ? "," : "", mode == JSON_PRETTY ? "\n" : "", indent, "",
                               members[i].key, separator, members[i].value);
        if (mode == JSON_PRETTY)
                (void) fprintf(f, "\n%*s", indent - INDENT, "");
        (void) fputc('}', f);
}
