/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "format.h"
#include "nss.h"
#include "util.h"

char *format_printable(const char *s) {
        char *buf, *q;

        buf = malloc(strlen(s) * 4 + 1);
        if (!buf)
                return NULL;

        for (q = buf; *s; s++)
                if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        q += sprintf(q, "\\x%02x", (unsigned char) *s);
                else
                        *q++ = *s;
        *q = '\0';
        return buf;
}

const char *format_bytes(uint64_t bytes, char *buf, size_t size) {
        static const char suffixes[] = "BKMGTPE";
        unsigned int i = 0;
        uint64_t unit = 1, tenths;

        while (suffixes[i + 1] && bytes / unit >= 1024) {
                unit <<= 10;
                i++;
        }

        tenths = bytes % unit / (unit > 10 ? unit / 10 : 1);
        if (i == 0 || bytes % unit == 0)
                (void) snprintf(buf, size, "%" PRIu64 "%c", bytes / unit, suffixes[i]);
        else
                (void) snprintf(buf,
                                size,
                                "%" PRIu64 ".%" PRIu64 "%c",
                                bytes / unit,
                                tenths > 9 ? 9 : tenths,
                                suffixes[i]);
        return buf;
}

const char *format_time(uint64_t usec, char *buf, size_t size) {
        time_t t = (time_t) (usec / 1000000);
        struct tm tm;

        if (usec == 0 || !localtime_r(&t, &tm) || strftime(buf, size, "%a %Y-%m-%d %H:%M:%S %Z", &tm) == 0)
                (void) snprintf(buf, size, "-");
        return buf;
}

const char *format_uid(uint32_t uid, char *buf, size_t size) {
        _cleanup_(freep) char *data = NULL;
        struct passwd pw;

        if (nss_user(NULL, uid, &pw, &data) >= 0)
                (void) snprintf(buf, size, "%s", pw.pw_name);
        else
                (void) snprintf(buf, size, "%" PRIu32, uid);
        return buf;
}

const char *format_gid(uint32_t gid, char *buf, size_t size) {
        _cleanup_(freep) char *data = NULL;
        struct group gr;

        if (nss_group(NULL, gid, &gr, &data) >= 0)
                (void) snprintf(buf, size, "%s", gr.gr_name);
        else
                (void) snprintf(buf, size, "%" PRIu32, gid);
        return buf;
}
