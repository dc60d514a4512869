/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Region files: what is accepted, and the error for what is not. */
#include <errno.h>
#include <glib.h>

#include "region-file.h"

static int parse_region(const char *text, RegionFile *ret) {
        g_autofree char *copy = g_strdup(text);

        return region_file_parse("r.conf", copy, true, ret);
}

static void test_region_files(void) {
        static const char *const wrong[] = {
                "",
                "[Region]\n",
                "[Region]\nMode=0660\n",
                "[Region]\nSize=0\n",
                "[Region]\nSize=infinity\n",
                "[Region]\nSize=1G\nMode=0999\n",
                "[Region]\nSize=1G\nBacking=cheese\n",
                "[Region]\nSize=1G\nColour=red\n",
                "[Other]\nSize=1G\n",
                "Size=1G\n",
                "[Region]\nSize=1G\nUser=\n",
                "[Region]\nSize=1G\nPath=relative\n",
                "[Region]\nSize=1G\nPopulate=perhaps\n",
                "[Region]\nSize=1G\nNUMA=bind:\n",
                "[Region]\nSize=1G\nNUMA=bind:0-1024\n",
                "[Region]\nSize=1G\nLingerSec=soon\n",
                "[Region]\nSize=1G\nAddress=0xZ\n",
        };
        RegionFile f = {};

        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
                if (parse_region(wrong[i], &f) != -EBADMSG)
                        g_error("taken: %s", wrong[i]);
                g_assert_null(f.user);
        }
        g_assert_cmpint(
                parse_region("[Region]\nSize=300G\nMode=0660\nUser=postgres\nGroup=postgres\nBacking=anonymous\n"
                             "Populate=yes\nLifetime=while-leased\nLingerSec=1min\nAddress=0x200000000000\n"
                             "HugePages=advise\nNUMA=bind:3,0-1\nLabel=main database\n",
                             &f),
                ==, 0);
        g_assert_cmpuint(f.size, ==, UINT64_C(300) << 30);
        g_assert_cmpint(f.mode, ==, 0660);
        g_assert_cmpstr(f.user, ==, "postgres");
        g_assert_cmpstr(f.label, ==, "main database");
        g_assert_cmpstr(f.numa, ==, "bind:0-1,3");
        g_assert_cmpuint(f.linger_usec, ==, 60000000);
        g_assert_cmpuint(f.address, ==, UINT64_C(0x200000000000));
        g_assert_true(f.populate && f.linger_set && f.address_set);
        region_file_done(&f);
        /* The command line has the same grammar. */
        g_assert_cmpint(parse_region("[Region]\nSize=300g\nLifetime=while-leased\nLingerSec=1d\n", &f), ==, 0);
        g_assert_cmpuint(f.size, ==, UINT64_C(300) << 30);
        g_assert_cmpuint(f.linger_usec, ==, UINT64_C(86400000000));
        region_file_done(&f);
        g_assert_cmpint(parse_region("[Region]\nSize=1", &f), ==, 0);
        g_assert_cmpint(f.mode, ==, 0600);
        region_file_done(&f);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/region-file", test_region_files);
        return g_test_run();
}
