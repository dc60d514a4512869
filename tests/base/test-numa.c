/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NUMA policies as text, and nodes that the machine does not have. */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "numa.h"

static void test_policies(void) {
        static const char *const good[][2] = {
                { "default", "default" },
                { "interleave", "interleave" },
                { "bind:0", "bind:0" },
                { "bind:1023", "bind:1023" },
                { "bind:0-1023", "bind:0-1023" },
                { "bind:3,1,0,1", "bind:0-1,3" },
                { "bind:63-64,2-2", "bind:2,63-64" },
                { "bind:007", "bind:7" },
        };
        static const char *const bad[] = {
                "",           "Default",   "bind",         "bind:",       "bind:,",   "bind:0,",
                "bind:,0",    "bind:0,,1", "bind:1-",      "bind:-1",     "bind:2-1", "bind: 0",
                "bind:0 ",    "bind:+1",   "bind:1024",    "bind:0-1024", "bind:0x",  "bind:99999999999999999999",
                "bind:0-1-2", "bind:all",  "interleave:0", "interleave ", "0",        "preferred:0",
        };
        char buf[NUMA_TEXT_MAX];
        NumaPolicy p;
        size_t i;

        for (i = 0; i < G_N_ELEMENTS(good); i++) {
                g_assert_cmpint(numa_parse(good[i][0], &p), ==, 0);
                g_assert_cmpstr(numa_format(&p, buf), ==, good[i][1]);
        }
        for (i = 0; i < G_N_ELEMENTS(bad); i++) {
                p = (NumaPolicy){ .mode = NUMA_INTERLEAVE };
                if (numa_parse(bad[i], &p) != -EINVAL)
                        g_error("'%s' was accepted", bad[i]);
                g_assert_cmpint(p.mode, ==, NUMA_INTERLEAVE);
        }
        p = (NumaPolicy){};
        g_assert_cmpstr(numa_format(&p, buf), ==, "default");
}

/* No two neighbours, so that none can be part of a range. */
static void test_longest(void) {
        NumaPolicy p = { .mode = NUMA_BIND }, q;
        char buf[NUMA_TEXT_MAX];

        memset(p.nodes.bits, 0xaa, sizeof(p.nodes.bits));
        numa_format(&p, buf);
        g_assert_cmpuint(strlen(buf), <, NUMA_TEXT_MAX - 1);
        g_assert_true(g_str_has_suffix(buf, ",1021,1023"));
        g_assert_cmpint(numa_parse(buf, &q), ==, 0);
        g_assert_cmpmem(&p.nodes, sizeof(p.nodes), &q.nodes, sizeof(q.nodes));
}

static void test_missing(void) {
        NumaNodes some, all;

        g_assert_cmpint(numa_parse_nodes("0-1,70", &all), ==, 0);
        g_assert_cmpint(numa_parse_nodes("1,70", &some), ==, 0);
        g_assert_cmpint(numa_first_missing(&some, &all), ==, -1);
        g_assert_cmpint(numa_first_missing(&all, &some), ==, 0);
        g_assert_cmpint(numa_parse_nodes("1,71", &some), ==, 0);
        g_assert_cmpint(numa_first_missing(&some, &all), ==, 71);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/numa/policies", test_policies);
        g_test_add_func("/numa/the longest text", test_longest);
        g_test_add_func("/numa/missing nodes", test_missing);
        return g_test_run();
}
