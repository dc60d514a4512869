/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names, escaped values, access by mode, limits, and the fdinfo of a region. */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "basic/log.h"
#include "basic/util.h"
#include "kernel/kernel-text.h"
#include "model/access.h"
#include "model/limits.h"
#include "model/name.h"

static void test_names_for_new_regions(void) {
        static const char *const good[] = { "a", "pgdata", "pg-data_1.2@x:y-", "A", "9", "_", "_-", "@" };
        static const char *const bad[] = { "",     ".",   "..",   ".a",   "a/b",   "/",   "a b",
                                           "a\tb", "é",   "a\nb", "a\\b", "a\x7f", "a,b", "\xff",
                                           "a*",   "a%b", "a+b",  "+",    "-",     "-x",  "--help" };
        char longest[REGION_NAME_MAX + 2];

        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                g_assert_true(region_name_is_valid(good[i]));
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_false(region_name_is_valid(bad[i]));
        memset(longest, 'x', sizeof(longest));
        longest[REGION_NAME_MAX + 1] = 0;
        g_assert_false(region_name_is_valid(longest));
        g_assert_false(region_name_is_adoptable(longest));
        longest[REGION_NAME_MAX] = 0;
        g_assert_true(region_name_is_valid(longest));
        g_assert_true(region_name_is_adoptable(longest));
}

static void test_names_to_adopt_are_what_the_bus_can_carry(void) {
        static const char *const good[] = { "a", "a b", "é", "日本", "\xf0\x9f\x90\x98", ".hidden", "a*", "\xc2\xa0" };
        static const char *const bad[] = { "",
                                           ".",
                                           "..",
                                           "a/b",
                                           ".#new",
                                           "a\x1b",
                                           "a\x7f",
                                           "\xff",
                                           "\xc3",
                                           "\xc0\xaf",
                                           "\xe0\x80\xaf",
                                           "\xed\xa0\x80",
                                           "\xf4\x90\x80\x80",
                                           "\xc2\x85",
                                           "\xe2\x82" };

        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                g_assert_true(region_name_is_adoptable(good[i]));
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_false(region_name_is_adoptable(bad[i]));
        /* GLib's validator must accept what ours accepts, because sd-bus drops the connection otherwise. */
        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                g_assert_true(g_utf8_validate(good[i], -1, NULL));
}

static void test_log_levels(void) {
        g_auto(GStrv) words = g_strsplit(LOG_LEVEL_WORDS, ", ", -1);

        g_assert_cmpuint(g_strv_length(words), ==, LOG_DEBUG + 1);
        for (int i = 0; words[i]; i++) {
                g_assert_cmpint(log_level_from_string(words[i]), ==, i);
                g_assert_cmpstr(log_level_to_string(i), ==, words[i]);
        }
        g_assert_cmpint(log_level_from_string("loud"), ==, -EINVAL);
}

static void test_booleans(void) {
        bool b;

        g_assert_cmpint(parse_bool("yes", &b), ==, 0);
        g_assert_true(b);
        g_assert_cmpint(parse_bool("OFF", &b), ==, 0);
        g_assert_false(b);
        g_assert_cmpint(parse_bool("maybe", &b), ==, -EINVAL);
}

static void test_lines_survive_escaping(void) {
        static const char *const texts[] = { "",      "plain",        "a\nb",  "\\",
                                             "\\x41", "tab\tand\x7f", "é\x01", "NAME=x\nUID=0" };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *escaped = line_escape(texts[i]), *back = NULL;

                g_assert_null(strchr(escaped, '\n'));
                g_assert_cmpint(line_unescape(escaped, &back), ==, 0);
                g_assert_cmpstr(back, ==, texts[i]);
        }
        for (size_t i = 0; i < 6; i++) {
                static const char *const bad[] = { "\\", "\\x", "\\x4", "\\n", "\\x00", "\\xZZ" };
                char *back = NULL;

                g_assert_cmpint(line_unescape(bad[i], &back), ==, -EINVAL);
                g_assert_null(back);
        }
}

static void test_the_class_that_matches_first_decides(void) {
        gid_t groups[] = { 20, 30 };
        Identity who = { .uid = 10, .gid = 20, .gids = groups, .n_gids = 2 };
        Identity root = {};

        g_assert_true(access_by_mode(&who, ACCESS_READ_WRITE, 10, 99, 0600));
        g_assert_true(access_by_mode(&who, ACCESS_READ, 10, 99, 0400));
        g_assert_false(access_by_mode(&who, ACCESS_READ_WRITE, 10, 99, 0400));
        /*
         * The owner is not admitted by the bits of the group or of others, nor a member of the group by those of
         * others.
         */
        g_assert_false(access_by_mode(&who, ACCESS_READ, 10, 20, 0066));
        g_assert_false(access_by_mode(&who, ACCESS_READ, 11, 30, 0606));
        g_assert_true(access_by_mode(&who, ACCESS_READ_WRITE, 11, 30, 0060));
        g_assert_true(access_by_mode(&who, ACCESS_READ, 11, 99, 0004));
        /* Write permission alone gives no access. */
        g_assert_false(access_by_mode(&who, ACCESS_READ_WRITE, 11, 99, 0002));
        g_assert_true(access_by_mode(&root, ACCESS_READ_WRITE, 11, 99, 0));
        g_assert_false(identity_in_group(&who, (gid_t) -1));
}

static void test_users_are_charged_up_to_their_limits(void) {
        Users users = {};
        Limits limits;

        limits_set_defaults(&limits);
        limits.max[LIMIT_USER_REGIONS] = 2;
        limits.max[LIMIT_USER_BYTES] = 1000;
        g_assert_cmpint(users_charge(&users, &limits, 5, LIMIT_USER_REGIONS, 1), ==, 0);
        g_assert_cmpint(users_charge(&users, &limits, 5, LIMIT_USER_REGIONS, 1), ==, 0);
        g_assert_cmpint(users_charge(&users, &limits, 5, LIMIT_USER_REGIONS, 1), ==, 1);
        g_assert_cmpuint(users_count(&users, 5, LIMIT_USER_REGIONS), ==, 2);
        /* Another user and root are not affected. */
        g_assert_cmpint(users_charge(&users, &limits, 6, LIMIT_USER_REGIONS, 1), ==, 0);
        for (int i = 0; i < 10; i++)
                g_assert_cmpint(users_charge(&users, &limits, 0, LIMIT_USER_REGIONS, 1), ==, 0);
        /* No overflow. */
        g_assert_cmpint(users_charge(&users, &limits, 5, LIMIT_USER_BYTES, 999), ==, 0);
        g_assert_cmpint(users_charge(&users, &limits, 5, LIMIT_USER_BYTES, UINT64_MAX), ==, 1);
        g_assert_cmpint(users_charge(&users, &limits, 5, LIMIT_USER_BYTES, 2), ==, 1);
        g_assert_cmpint(users_charge_forced(&users, 5, LIMIT_USER_BYTES, UINT64_MAX), ==, 0);
        g_assert_cmpint(users_charge(&users, &limits, 5, LIMIT_USER_BYTES, 1), ==, 1);
        /* A user that has nothing left is forgotten. */
        users_discharge(&users, 6, LIMIT_USER_REGIONS, 1);
        users_discharge(&users, 6, LIMIT_USER_REGIONS, 1);
        g_assert_cmpuint(users_count(&users, 6, LIMIT_USER_REGIONS), ==, 0);
        users_discharge(&users, 5, LIMIT_USER_BYTES, UINT64_MAX);
        users_discharge(&users, 5, LIMIT_USER_REGIONS, 2);
        users_discharge(&users, 0, LIMIT_USER_REGIONS, 10);
        g_assert_null(LIST_FIRST(&users.list));
        users_done(&users);
}

/* What function(users) writes to standard error, as the log on a console. */
static char *read_errors(void (*function)(Users *users), Users *users) {
        int file = memfd_create("errors", MFD_CLOEXEC), saved = dup(2);
        char text[4096] = "";

        g_assert_cmpint(dup2(file, 2), ==, 2);
        function(users);
        g_assert_cmpint(dup2(saved, 2), ==, 2);
        g_assert_cmpint(pread(file, text, sizeof(text) - 1, 0), >=, 0);
        (void) close(file);
        (void) close(saved);
        return g_strdup(text);
}

static void give_back_too_much(Users *users) {
        users_discharge(users, 5, LIMIT_USER_LEASES, 3);
        users_discharge(users, 5, LIMIT_USER_LEASES, 1);
        users_discharge(users, 6, COUNT_USER_ASIDE, 1);
}

static void give_back_nothing(Users *users) {
        users_discharge(users, 5, LIMIT_USER_LEASES, 2);
        users_discharge(users, 5, LIMIT_USER_LEASES, 0);
}

static void test_giving_back_too_much_is_logged(void) {
        const Log log = { .name = "test-values", .level = LOG_INFO, .target = LOG_TARGET_CONSOLE };
        g_autofree char *text = NULL, *none = NULL;
        Users users = { .log = &log };

        g_assert_cmpint(users_charge_forced(&users, 5, LIMIT_USER_LEASES, 2), ==, 0);
        none = read_errors(give_back_nothing, &users);
        g_assert_cmpstr(none, ==, "");
        g_assert_cmpint(users_charge_forced(&users, 5, LIMIT_USER_LEASES, 2), ==, 0);
        text = read_errors(give_back_too_much, &users);
        g_assert_nonnull(strstr(text, "the count of leases of one user is 2 for user 5, and cannot be reduced by 3"));
        g_assert_nonnull(
                strstr(text, "the count of calls that are put aside is 0 for user 6, and cannot be reduced by 1"));
        /* Once for each kind. */
        g_assert_null(strstr(strstr(text, "leases of one user") + 1, "leases of one user"));
        g_assert_cmpuint(users_count(&users, 5, LIMIT_USER_LEASES), ==, 0);
        users_done(&users);
}

static void test_limits_have_names(void) {
        for (Limit l = 0; l < _LIMIT_MAX; l++)
                g_assert_cmpint(limit_from_name(limit_name(l)), ==, (int) l);
        g_assert_cmpint(limit_from_name("CheeseMax"), <, 0);
}

static void test_figures_of_a_region_are_read_from_fdinfo(void) {
        KernelUsage usage = {};
        uint64_t bytes = 0, swap = 0;

        g_assert_cmpint(kernel_parse_fdinfo(
                                "pos:\t0\nflags:\t0100000\nmshare-start:\t18691697672192\nmshare-size:\t549755813888\n"
                                "mshare-sharers:\t3\nmshare-resident-kb:\t4096\nmshare-pgtables-kb:\t12\n",
                                &usage),
                        ==, 0);
        g_assert_cmpuint(usage.sharers, ==, 3);
        g_assert_cmpuint(usage.writers, ==, 3);
        g_assert_cmpuint(usage.resident, ==, 4096 * 1024);
        g_assert_cmpuint(usage.pgtables, ==, 12 * 1024);
        g_assert_cmpint(kernel_parse_fdinfo("mshare-sharers:\t3\nmshare-resident-kb:\t1\nmshare-pgtables-kb:\t1\n"
                                            "mshare-access:\trw\nmshare-writers:\t2\n",
                                            &usage),
                        ==, 0);
        g_assert_cmpuint(usage.writers, ==, 2);
        g_assert_cmpint(kernel_parse_fdinfo("", &usage), ==, -EBADMSG);
        g_assert_cmpint(kernel_parse_meminfo("MemTotal:        2007000 kB\nMemFree:         1700000 kB\n"
                                             "MemAvailable:    1800000 kB\nSwapTotal:          2048 kB\n"
                                             "SwapFree:           1024 kB\n",
                                             &bytes, &swap),
                        ==, 0);
        g_assert_cmpuint(bytes, ==, 1801024 * 1024ULL);
        g_assert_cmpuint(swap, ==, 1024 * 1024);
        g_assert_cmpint(kernel_parse_meminfo("MemTotal:        2007000 kB\n", &bytes, &swap), ==, -EBADMSG);
        g_assert_cmpint(
                kernel_parse_node_meminfo("Node 0 MemTotal:        2007000 kB\nNode 0 MemFree:            1000 kB\n"
                                          "Node 0 Active:               9 kB\nNode 0 Active(file):       200 kB\n"
                                          "Node 0 Inactive(file):      30 kB\nNode 0 FilePages:         5000 kB\n",
                                          &bytes),
                ==, 0);
        g_assert_cmpuint(bytes, ==, 1230 * 1024);
        g_assert_cmpint(kernel_parse_node_meminfo("Node 0 MemFree: 1 kB\nNode 0 Active(file): 1 kB\n", &bytes), ==,
                        -EBADMSG);
        g_assert_cmpint(kernel_parse_fdinfo("mshare-sharers:\t3\nmshare-resident-kb:\t1\n", &usage), ==, -EBADMSG);
        g_assert_cmpint(
                kernel_parse_fdinfo("mshare-sharers:\tx\nmshare-resident-kb:\t1\nmshare-pgtables-kb:\t1\n", &usage), ==,
                -EBADMSG);
        g_assert_cmpint(kernel_parse_fdinfo("mshare-sharers:\t1\nmshare-resident-kb:\t18446744073709551615\n"
                                            "mshare-pgtables-kb:\t1\n",
                                            &usage),
                        ==, -EBADMSG);
        g_assert_cmpuint(usage.sharers, ==, 3);
        g_assert_true(kernel_fdinfo_is_read_only("mshare-pgtables-kb:\t1\nmshare-access:\tr\n"));
        g_assert_true(kernel_fdinfo_is_read_only("mshare-access:\tr"));
        g_assert_false(kernel_fdinfo_is_read_only("mshare-pgtables-kb:\t1\nmshare-access:\trw\n"));
        g_assert_false(kernel_fdinfo_is_read_only("mshare-access:\n"));
        g_assert_false(kernel_fdinfo_is_read_only("my-mshare-access:\tr\nmshare-access-kb:\tr\n"));
        g_assert_false(kernel_fdinfo_is_read_only("mshare-pgtables-kb:\t1\n"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/name/new", test_names_for_new_regions);
        g_test_add_func("/name/adoptable", test_names_to_adopt_are_what_the_bus_can_carry);
        g_test_add_func("/value/booleans", test_booleans);
        g_test_add_func("/value/log levels", test_log_levels);
        g_test_add_func("/value/escape", test_lines_survive_escaping);
        g_test_add_func("/access/mode", test_the_class_that_matches_first_decides);
        g_test_add_func("/limits/charge", test_users_are_charged_up_to_their_limits);
        g_test_add_func("/limits/giving-back-too-much", test_giving_back_too_much_is_logged);
        g_test_add_func("/limits/names", test_limits_have_names);
        g_test_add_func("/kernel/fdinfo", test_figures_of_a_region_are_read_from_fdinfo);
        return g_test_run();
}
