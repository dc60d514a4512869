/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Text for people: names that are safe to print, progress, times and owners. It prints nothing itself. */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "format.h"
#include "nss.h"
#include "util.h"

/* Length in bytes of the UTF-8 character at s, with its code point in *ret; 0 if it is not valid. */
static size_t decode(const char *s, uint32_t *ret) {
        const unsigned char *p = (const unsigned char *) s;
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
        uint32_t c = n <= 1 ? p[0] : p[0] & (0x7fU >> n);
        size_t i;

        for (i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 0x3f);
        }
        *ret = c;
        return n > 0 && c >= least[n] ? n : 0;
}

/*
 * Whether the next character is safe for a terminal: valid UTF-8, not a control character of ASCII or C1 (U+009B starts an
 * escape sequence as ESC does), and not a mark that changes the direction of text. *ret_n is its number of bytes.
 */
static bool is_shown(const char *s, size_t *ret_n) {
        uint32_t c = 0;
        size_t n = decode(s, &c);

        *ret_n = n > 0 ? n : 1;
        return n > 0 && c >= 0x20 && !(c >= 0x7f && c < 0xa0) && !(c >= 0x2028 && c <= 0x202e) &&
               !(c >= 0x2066 && c <= 0x2069) && c != 0x200e && c != 0x200f;
}

char *format_printable(const char *s) {
        char *buf, *q;
        size_t n, i;

        buf = malloc(strlen(s) * 4 + 1);
        if (!buf)
                return NULL;

        for (q = buf; *s; s += n) {
                bool shown = is_shown(s, &n);

                for (i = 0; i < n; i++)
                        if (shown)
                                *q++ = s[i];
                        else
                                q += sprintf(q, "\\x%02x", (unsigned char) s[i]);
        }
        *q = '\0';
        return buf;
}

const char *format_time(uint64_t usec, char *buf, size_t size) {
        time_t t = (time_t) (usec / 1000000);
        struct tm tm;

        if (usec == 0 || !localtime_r(&t, &tm) || strftime(buf, size, "%a %Y-%m-%d %H:%M:%S %Z", &tm) == 0)
                (void) snprintf(buf, size, "-");
        return buf;
}

static bool ids_as_numbers;

void format_ids_as_numbers(bool numbers) {
        ids_as_numbers = numbers;
}

const char *format_uid(uint32_t uid, char *buf, size_t size) {
        _cleanup_(freep) char *data = NULL;
        struct passwd pw;

        if (!ids_as_numbers && nss_user(NULL, uid, &pw, &data) >= 0)
                (void) snprintf(buf, size, "%s", pw.pw_name);
        else
                (void) snprintf(buf, size, "%" PRIu32, uid);
        return buf;
}

const char *format_gid(uint32_t gid, char *buf, size_t size) {
        _cleanup_(freep) char *data = NULL;
        struct group gr;

        if (!ids_as_numbers && nss_group(NULL, gid, &gr, &data) >= 0)
                (void) snprintf(buf, size, "%s", gr.gr_name);
        else
                (void) snprintf(buf, size, "%" PRIu32, gid);
        return buf;
}

const char *format_progress(double progress, uint64_t size, double rate, char *buf, size_t buf_size) {
        double left = rate > 0 ? (1 - progress) * (double) size / rate : 0;
        char total[32], speed[32];
        unsigned int seconds;
        size_t n;

        (void) snprintf(buf, buf_size, "%3.0f%% of %s", progress * 100, format_bytes(size, total, sizeof(total)));
        n = strlen(buf);
        if (rate < 1 || left > 1e8)
                return buf;
        seconds = (unsigned int) (left + 0.5);
        (void) snprintf(buf + n, buf_size - n, ", %s/s, ", format_bytes((uint64_t) rate, speed, sizeof(speed)));
        n = strlen(buf);
        if (seconds >= 3600)
                (void) snprintf(buf + n, buf_size - n, "%uh %umin left", seconds / 3600, seconds / 60 % 60);
        else if (seconds >= 60)
                (void) snprintf(buf + n, buf_size - n, "%umin %us left", seconds / 60, seconds % 60);
        else
                (void) snprintf(buf + n, buf_size - n, "%us left", seconds);
        return buf;
}
