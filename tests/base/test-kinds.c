/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of backings, huge pages, lifetimes and access: messages list exactly the words that are accepted. */
#include <errno.h>
#include <glib.h>

#include "kinds.h"

static const char *backing(int i) {
        return backing_to_string((Backing) i);
}

static const char *hugepage(int i) {
        return hugepages_to_string((HugePages) i);
}

static const char *lifetime(int i) {
        return lifetime_to_string((Lifetime) i);
}

/* words lists the max values that parse() accepts, in their order. */
static void assert_words(const char *words, int max, const char *(*to_string)(int i), int (*parse)(const char *s)) {
        g_autoptr(GString) accepted = g_string_new(NULL);

        for (int i = 0; i < max; i++) {
                const char *word = to_string(i);
                int r = parse(word);

                g_assert_true(r == i || r == -EINVAL);
                if (r >= 0)
                        g_string_append_printf(accepted, "%s%s", accepted->len > 0 ? ", " : "", word);
        }
        g_assert_cmpstr(accepted->str, ==, words);
        g_assert_cmpint(parse(""), ==, -EINVAL);
        g_assert_cmpint(parse(words), ==, -EINVAL);
}

static void test_lists(void) {
        assert_words(BACKING_WORDS, _BACKING_MAX, backing, backing_parse);
        assert_words(HUGEPAGES_WORDS, _HUGEPAGES_MAX, hugepage, hugepages_parse);
        assert_words(LIFETIME_WORDS, _LIFETIME_MAX, lifetime, lifetime_parse);
}

static void test_brokers_own(void) {
        g_assert_cmpint(backing_from_string("unknown"), ==, BACKING_UNKNOWN);
        g_assert_cmpint(backing_parse("unknown"), ==, -EINVAL);
        g_assert_cmpint(hugepages_from_string("default"), ==, HUGEPAGES_DEFAULT);
        g_assert_cmpint(hugepages_parse("default"), ==, -EINVAL);
}

static void test_access(void) {
        g_assert_cmpint(access_from_string("r"), ==, ACCESS_READ);
        g_assert_cmpint(access_from_string("rw"), ==, ACCESS_READ_WRITE);
        g_assert_cmpstr(access_to_string(ACCESS_READ), ==, "r");
        g_assert_cmpstr(access_to_string(ACCESS_READ_WRITE), ==, "rw");
        g_assert_cmpstr(ACCESS_WORDS, ==, "'r' or 'rw'");
        g_assert_cmpint(access_from_string("w"), ==, -EINVAL);
        g_assert_cmpint(access_from_string("rw "), ==, -EINVAL);
        g_assert_cmpint(access_from_string(""), ==, -EINVAL);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/kinds/messages list the words that are accepted", test_lists);
        g_test_add_func("/kinds/words of the broker are no input", test_brokers_own);
        g_test_add_func("/kinds/access", test_access);
        return g_test_run();
}
