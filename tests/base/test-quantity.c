/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The grammar of sizes and times that daemon, libraries and command share. */
#include <errno.h>
#include <glib.h>

#include "quantity.h"

#define UNTOUCHED UINT64_C(0x5555555555555555)

typedef struct Parsed {
        const char *s;
        int result;
        uint64_t value;
} Parsed;

static void assert_all(int (*parse)(const char *s, uint64_t *ret), const Parsed *cases, size_t n) {
        size_t i;

        for (i = 0; i < n; i++) {
                uint64_t value = UNTOUCHED;

                g_test_message("\"%s\"", cases[i].s);
                g_assert_cmpint(parse(cases[i].s, &value), ==, cases[i].result);
                g_assert_cmphex(value, ==, (cases[i].result < 0 ? UNTOUCHED : cases[i].value));
        }
}

static void test_sizes(void) {
        static const Parsed cases[] = {
                { "0", 0, 0 },
                { "0K", 0, 0 },
                { "1", 0, 1 },
                { "010", 0, 10 },
                { "3k", 0, 3 << 10 },
                { "4K", 0, 4096 },
                { "3m", 0, 3 << 20 },
                { "300g", 0, UINT64_C(300) << 30 },
                { "300G", 0, UINT64_C(300) << 30 },
                { "127T", 0, UINT64_C(127) << 40 },
                { "1t", 0, UINT64_C(1) << 40 },
                { "1P", 0, UINT64_C(1) << 50 },
                { "15e", 0, UINT64_C(15) << 60 },
                { "16E", -ERANGE, 0 },
                { "16777215T", 0, UINT64_C(16777215) << 40 },
                { "16777216T", -ERANGE, 0 },
                { "18446744073709551615", 0, UINT64_MAX },
                { "18446744073709551616", -ERANGE, 0 },
                { "99999999999999999999999999999999999999", -ERANGE, 0 },
                { "infinity", 0, UINT64_MAX },
                { "Infinity", -EINVAL, 0 },
                { "", -EINVAL, 0 },
                { "K", -EINVAL, 0 },
                { "-1", -EINVAL, 0 },
                { "+1", -EINVAL, 0 },
                { " 1", -EINVAL, 0 },
                { "1 ", -EINVAL, 0 },
                { "1KB", -EINVAL, 0 },
                { "1KK", -EINVAL, 0 },
                { "1B", -EINVAL, 0 },
                { "0x10", -EINVAL, 0 },
                { "1.5G", -EINVAL, 0 },
                { "1,5", -EINVAL, 0 },
        };

        assert_all(parse_size, cases, G_N_ELEMENTS(cases));
}

static void test_amounts(void) {
        static const Parsed cases[] = {
                { "1", 0, 1 },
                { "64M", 0, 64 << 20 },
                { "0", -EINVAL, 0 },
                { "0G", -EINVAL, 0 },
                { "infinity", -ERANGE, 0 },
                { "18446744073709551615", -ERANGE, 0 },
                { "18446744073709551614", 0, UINT64_MAX - 1 },
                { "1.5G", -EINVAL, 0 },
        };

        assert_all(parse_amount, cases, G_N_ELEMENTS(cases));
}

static void test_spans(void) {
        static const Parsed cases[] = {
                { "0", 0, 0 },
                { "5", 0, 5000000 },
                { "7us", 0, 7 },
                { "250ms", 0, 250000 },
                { "7s", 0, 7000000 },
                { "2min", 0, 120000000 },
                { "2h", 0, UINT64_C(7200000000) },
                { "1d", 0, UINT64_C(86400000000) },
                { "18446744073709551615us", 0, UINT64_MAX },
                { "18446744073709551615", -ERANGE, 0 },
                { "99999999999999999h", -ERANGE, 0 },
                { "", -EINVAL, 0 },
                { "s", -EINVAL, 0 },
                { "-1s", -EINVAL, 0 },
                { "1 s", -EINVAL, 0 },
                { "1y", -EINVAL, 0 },
                { "1m", -EINVAL, 0 },
                { "1S", -EINVAL, 0 },
                { "1sec", -EINVAL, 0 },
                { "1.5s", -EINVAL, 0 },
                { "infinity", -EINVAL, 0 },
        };

        assert_all(parse_span, cases, G_N_ELEMENTS(cases));
}

static void test_saved(void) {
        g_assert_cmpuint(saved_bytes(0, 4096), ==, 0);
        g_assert_cmpuint(saved_bytes(1, 4096), ==, 0);
        g_assert_cmpuint(saved_bytes(3, 4096), ==, 8192);
        g_assert_cmpuint(saved_bytes(UINT64_MAX, 4096), ==, UINT64_MAX);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/quantity/sizes", test_sizes);
        g_test_add_func("/quantity/amounts", test_amounts);
        g_test_add_func("/quantity/times", test_spans);
        g_test_add_func("/quantity/saved page tables", test_saved);
        return g_test_run();
}
