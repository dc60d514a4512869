/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads sizes and times, computes what page tables save, and writes sizes for people. The preload library uses it, so nothing here may allocate or block. */

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "macro.h"
#include "quantity.h"

/* Not strtoull(), which also accepts blanks, signs and "0x". *end is what follows the digits. */
static int parse_digits(const char *s, uint64_t *ret, const char **end) {
        uint64_t n = 0;

        if (*s < '0' || *s > '9')
                return -EINVAL;
        for (; *s >= '0' && *s <= '9'; s++)
                if (__builtin_mul_overflow(n, (uint64_t) 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t) (*s - '0'), &n))
                        return -ERANGE;
        *ret = n;
        *end = s;
        return 0;
}

int parse_size(const char *s, uint64_t *ret) {
        static const char suffixes[] = "KkMmGgTtPpEe";
        const char *end, *suffix;
        uint64_t n;
        int r;

        if (streq(s, "infinity")) {
                *ret = UINT64_MAX;
                return 0;
        }
        r = parse_digits(s, &n, &end);
        if (r < 0)
                return r;
        if (*end != '\0') {
                suffix = strchr(suffixes, *end);
                if (!suffix || end[1] != '\0')
                        return -EINVAL;
                if (__builtin_mul_overflow(n, UINT64_C(1) << (10 * ((suffix - suffixes) / 2 + 1)), &n))
                        return -ERANGE;
        }
        *ret = n;
        return 0;
}

int parse_amount(const char *s, uint64_t *ret) {
        uint64_t n;
        int r;

        r = parse_size(s, &n);
        if (r < 0)
                return r;
        if (n == 0)
                return -EINVAL;
        if (n == UINT64_MAX)
                return -ERANGE;
        *ret = n;
        return 0;
}

int parse_span(const char *s, uint64_t *ret) {
        static const struct {
                const char *suffix;
                uint64_t usec;
        } units[] = {
                { "", 1000000 },
                { "us", 1 },
                { "ms", 1000 },
                { "s", 1000000 },
                { "min", UINT64_C(60) * 1000000 },
                { "h", UINT64_C(3600) * 1000000 },
                { "d", UINT64_C(86400) * 1000000 },
        };
        const char *end;
        uint64_t n;
        size_t i;
        int r;

        r = parse_digits(s, &n, &end);
        if (r < 0)
                return r;
        for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
                if (streq(end, units[i].suffix)) {
                        if (__builtin_mul_overflow(n, units[i].usec, &n))
                                return -ERANGE;
                        *ret = n;
                        return 0;
                }
        return -EINVAL;
}

uint64_t saved_bytes(uint64_t sharers, uint64_t page_tables) {
        uint64_t bytes;

        if (sharers == 0)
                return 0;
        return __builtin_mul_overflow(sharers - 1, page_tables, &bytes) ? UINT64_MAX : bytes;
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
                (void) snprintf(buf, size, "%" PRIu64 ".%" PRIu64 "%c", bytes / unit, tenths > 9 ? 9 : tenths,
                                suffixes[i]);
        return buf;
}
