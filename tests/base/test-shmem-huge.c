/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which system setting denies huge pages to a region. */
#include <glib.h>
#include <glib/gstdio.h>

#include "shmem-huge.h"

static char *dir;

static void write_setting(const char *file, const char *text) {
        g_autofree char *path = g_build_filename(dir, file, NULL);

        if (text)
                g_assert_true(g_file_set_contents(path, text, -1, NULL));
        else
                (void) g_unlink(path);
}

static void test_which_setting_denies(void) {
        static const struct {
                const char *common, *own, *denied; /* denied: the file that denies them */
        } cases[] = {
                { "always within_size advise [never] deny force\n", NULL, "shmem_enabled" },
                { "always within_size advise [never] deny force\n", "always inherit within_size advise [never]\n",
                  "hugepages-2048kB/shmem_enabled" },
                { "always within_size advise [never] deny force\n", "always [inherit] within_size advise never\n",
                  "shmem_enabled" },
                { "always within_size advise [never] deny force\n", "always inherit within_size [advise] never\n",
                  NULL },
                { "always within_size [advise] never deny force\n", "always [inherit] within_size advise never\n",
                  NULL },
                { "[always] within_size advise never deny force\n", "always inherit within_size advise [never]\n",
                  "hugepages-2048kB/shmem_enabled" },
                { "always within_size advise never [deny] force\n", "[always] inherit within_size advise never\n",
                  "shmem_enabled" },
                { "always within_size advise never deny [force]\n", "always inherit within_size advise [never]\n",
                  NULL },
                { "[within_size]\n", NULL, NULL },
                { "never\n", NULL, NULL },
                { NULL, NULL, NULL },
        };
        char path[256], value[32];
        gsize i;

        for (i = 0; i < G_N_ELEMENTS(cases); i++) {
                write_setting("shmem_enabled", cases[i].common);
                write_setting("hugepages-2048kB/shmem_enabled", cases[i].own);
                g_assert_cmpint(shmem_huge_denied(dir, path, sizeof(path), value, sizeof(value)), ==,
                                cases[i].denied != NULL);
                if (cases[i].denied) {
                        g_autofree char *want = g_build_filename(dir, cases[i].denied, NULL);

                        g_assert_cmpstr(path, ==, want);
                        g_assert_true(g_str_equal(value, "never") || g_str_equal(value, "deny"));
                }
        }
}

int main(int argc, char **argv) {
        g_autofree char *sizes = NULL;
        int r;

        g_test_init(&argc, &argv, NULL);
        dir = g_dir_make_tmp("mshare-test.XXXXXX", NULL);
        g_assert_nonnull(dir);
        sizes = g_build_filename(dir, "hugepages-2048kB", NULL);
        g_assert_cmpint(g_mkdir(sizes, 0700), ==, 0);
        g_test_add_func("/shmem-huge/which setting denies", test_which_setting_denies);
        r = g_test_run();
        write_setting("shmem_enabled", NULL);
        write_setting("hugepages-2048kB/shmem_enabled", NULL);
        (void) g_rmdir(sizes);
        (void) g_rmdir(dir);
        g_free(dir);
        return r;
}
