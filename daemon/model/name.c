/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which names a region may have. It looks at the text alone; the manager knows which names are in use. */

#include <stddef.h>
#include <string.h>

#include "macro.h"
#include "model/name.h"

static bool name_char_is_valid(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c != 0 && strchr("._:@-", c));
}

bool region_name_is_valid(const char *name) {
        size_t n = strlen(name);

        if (n == 0 || n > REGION_NAME_MAX || name[0] == '.' || name[0] == '-')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!name_char_is_valid(name[i]))
                        return false;
        return true;
}

/*
 * The length of the UTF-8 sequence at s, or 0 if it is not well-formed. Overlong forms, surrogates and values past U+10FFFF are
 * not well-formed.
 */
static size_t utf8_sequence(const unsigned char *s) {
        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                return (s[1] & 0xc0) == 0x80 ? 2 : 0;
        if ((s[0] & 0xf0) == 0xe0) {
                if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
                        return 0;
                if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
                        return 0;
                return 3;
        }
        if (s[0] >= 0xf0 && s[0] <= 0xf4) {
                if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
                        return 0;
                if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
                        return 0;
                return 4;
        }
        return 0;
}

bool text_is_printable(const char *text) {
        const unsigned char *p = (const unsigned char *) text;

        while (*p) {
                size_t k = utf8_sequence(p);

                if (k == 0 || *p < 0x20 || *p == 0x7f)
                        return false;
                /* C1 controls, U+0080 to U+009F, control a terminal, too. */
                if (k == 2 && p[0] == 0xc2 && p[1] < 0xa0)
                        return false;
                p += k;
        }
        return true;
}

bool region_name_is_adoptable(const char *name) {
        if (!*name || strlen(name) > REGION_NAME_MAX || strchr(name, '/'))
                return false;
        if (streq(name, ".") || streq(name, "..") || strncmp(name, ".#", 2) == 0)
                return false;
        return text_is_printable(name);
}
