/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words that people type and values that people read: msharectl's parsing and formatting. */
#include <dlfcn.h>
#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "json.h"
#include "parse.h"

/* Replaces the lookups of libc for a user and a group with many members, and for a service that does not answer. */
#define BIG_ID 54321
#define BIG_SIZE (3U << 20)

static int big_entry(const char *name, uint32_t id, size_t size, int *ret) {
        if (id != BIG_ID && g_strcmp0(name, "big") != 0 && g_strcmp0(name, "broken") != 0)
                return 0;
        *ret = g_strcmp0(name, "broken") == 0 ? EIO : size < BIG_SIZE ? ERANGE : 0;
        return 1;
}

static int user_entry(const char *symbol, const char *name, uid_t uid, struct passwd *pw, char *buf, size_t size,
                      struct passwd **ret) {
        int r;

        *ret = NULL;
        if (big_entry(name, uid, size, &r)) {
                *pw = (struct passwd){ .pw_name = (char *) "big", .pw_uid = BIG_ID, .pw_gid = BIG_ID };
                *ret = r == 0 ? pw : NULL;
                return r;
        }
        if (name)
                return ((int (*)(const char *, struct passwd *, char *, size_t, struct passwd **)) dlsym(
                        RTLD_NEXT, symbol))(name, pw, buf, size, ret);
        return ((int (*)(uid_t, struct passwd *, char *, size_t, struct passwd **)) dlsym(RTLD_NEXT, symbol))(
                uid, pw, buf, size, ret);
}

static int group_entry(const char *symbol, const char *name, gid_t gid, struct group *gr, char *buf, size_t size,
                       struct group **ret) {
        int r;

        *ret = NULL;
        if (big_entry(name, gid, size, &r)) {
                *gr = (struct group){ .gr_name = (char *) "big", .gr_gid = BIG_ID };
                *ret = r == 0 ? gr : NULL;
                return r;
        }
        if (name)
                return ((int (*)(const char *, struct group *, char *, size_t, struct group **)) dlsym(
                        RTLD_NEXT, symbol))(name, gr, buf, size, ret);
        return ((int (*)(gid_t, struct group *, char *, size_t, struct group **)) dlsym(RTLD_NEXT, symbol))(
                gid, gr, buf, size, ret);
}

int getpwnam_r(const char *name, struct passwd *pw, char *buf, size_t size, struct passwd **ret) {
        return user_entry(__func__, name, 0, pw, buf, size, ret);
}

int getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t size, struct passwd **ret) {
        return user_entry(__func__, NULL, uid, pw, buf, size, ret);
}

int getgrnam_r(const char *name, struct group *gr, char *buf, size_t size, struct group **ret) {
        return group_entry(__func__, name, 0, gr, buf, size, ret);
}

int getgrgid_r(gid_t gid, struct group *gr, char *buf, size_t size, struct group **ret) {
        return group_entry(__func__, NULL, gid, gr, buf, size, ret);
}

#define UNTOUCHED UINT64_C(0x5555555555555555)

typedef int parser(const char *s, uint64_t *ret);

static void assert_parse(parser *parse, const char *s, int result, uint64_t value) {
        uint64_t n = UNTOUCHED;

        g_assert_cmpint(parse(s, &n), ==, result);
        g_assert_cmphex(n, ==, (result < 0 ? UNTOUCHED : value));
}

static void test_addresses(void) {
        static const char *const bad[] = { "", "0x", "400000", "0x-1", "0x1g", "0x 1", "1x10", "0x0x10" };
        size_t i;

        assert_parse(parse_address, "0x400000000000", 0, UINT64_C(0x400000000000));
        assert_parse(parse_address, "0Xff", 0, 255);
        assert_parse(parse_address, "0x10000000000000000", -ERANGE, 0);
        for (i = 0; i < G_N_ELEMENTS(bad); i++)
                assert_parse(parse_address, bad[i], -EINVAL, 0);
}

static void test_owners(void) {
        Owner o;

        g_assert_cmpint(parse_owner("root", &o), ==, 0);
        g_assert_true(o.has_uid && !o.has_gid && o.uid == 0);
        g_assert_cmpuint(o.login_gid, ==, 0);
        g_assert_cmpint(parse_owner("1", &o), ==, 0);
        g_assert_cmpuint(o.login_gid, ==, UINT32_MAX);
        g_assert_cmpint(parse_owner("root:", &o), ==, 0);
        g_assert_true(o.has_uid && o.has_gid && o.uid == 0 && o.gid == 0);
        g_assert_cmpint(parse_owner("daemon:root", &o), ==, 0);
        g_assert_true(o.has_uid && o.has_gid && o.uid == 1 && o.gid == 0);
        g_assert_cmpint(parse_owner(":daemon", &o), ==, 0);
        g_assert_true(!o.has_uid && o.has_gid && o.gid == 1);
        g_assert_cmpint(parse_owner("12345678:87654321", &o), ==, 0);
        g_assert_true(o.has_uid && o.has_gid && o.uid == 12345678 && o.gid == 87654321);
        g_assert_cmpint(parse_owner("4294967294", &o), ==, 0);
        g_assert_cmpuint(o.uid, ==, 4294967294);

        g_assert_cmpint(parse_owner("", &o), ==, -EINVAL);
        g_assert_cmpint(parse_owner(":", &o), ==, -EINVAL);
        g_assert_cmpint(parse_owner("4294967295", &o), ==, -ERANGE);
        g_assert_cmpint(parse_owner("-1", &o), ==, -ESRCH);
        g_assert_cmpint(parse_owner("no-such-user", &o), ==, -ESRCH);
        g_assert_cmpint(parse_owner("root:no-such-group", &o), ==, -ESRCH);
        /* No user has this number, so the group is unknown. */
        g_assert_cmpint(parse_owner("12345678:", &o), ==, -ESRCH);
}

static void test_big_entries(void) {
        Owner o;
        char buf[64];

        g_assert_cmpint(parse_owner("big:big", &o), ==, 0);
        g_assert_true(o.has_uid && o.has_gid && o.uid == BIG_ID && o.gid == BIG_ID);
        g_assert_cmpint(parse_owner("54321:", &o), ==, 0);
        g_assert_true(o.has_gid && o.gid == BIG_ID);
        g_assert_cmpstr(format_uid(BIG_ID, buf, sizeof(buf)), ==, "big");
        g_assert_cmpstr(format_gid(BIG_ID, buf, sizeof(buf)), ==, "big");
        /* If a user cannot be looked up, the message does not claim that there is no such user. */
        g_assert_cmpint(parse_owner("broken", &o), ==, -EIO);
        g_assert_cmpint(parse_owner(":broken", &o), ==, -EIO);
}

static void assert_bytes(uint64_t n, const char *wanted) {
        char buf[32];

        g_assert_cmpstr(format_bytes(n, buf, sizeof(buf)), ==, wanted);
}

static void test_bytes(void) {
        assert_bytes(0, "0B");
        assert_bytes(1023, "1023B");
        assert_bytes(1024, "1K");
        assert_bytes(1536, "1.5K");
        assert_bytes(2047, "1.9K");
        assert_bytes(UINT64_C(512) << 30, "512G");
        assert_bytes(UINT64_C(601) << 20, "601M");
        assert_bytes((UINT64_C(1) << 40) - 1, "1023.9G");
        assert_bytes(UINT64_MAX, "15.9E");
}

static void assert_progress(double progress, double rate, const char *wanted) {
        char buf[128];

        g_assert_cmpstr(format_progress(progress, UINT64_C(300) << 30, rate, buf, sizeof(buf)), ==, wanted);
}

static void test_progress(void) {
        assert_progress(0, 0, "  0% of 300G");
        assert_progress(0.5, (double) (UINT64_C(2) << 30), " 50% of 300G, 2G/s, 1min 15s left");
        assert_progress(0.999, (double) (UINT64_C(1) << 30), "100% of 300G, 1G/s, 0s left");
        assert_progress(0.01, 30e6, "  1% of 300G, 28.6M/s, 2h 57min left");
        assert_progress(0.01, 1e-9, "  1% of 300G");
        assert_progress(1, 0, "100% of 300G");
}

static void test_printable(void) {
        static const struct {
                const char *s, *shown;
        } cases[] = {
                { "a\tb\x1b[31m\x7fü", "a\\x09b\\x1b[31m\\x7fü" },
                { "日本 \xf0\x9f\x90\x98 \xc2\xa0", "日本 \xf0\x9f\x90\x98 \xc2\xa0" },
                /* CSI of C1, and text from right to left. */
                { "\xc2\x9b"
                  "31mRED",
                  "\\xc2\\x9b31mRED" },
                { "\xe2\x80\xaetxt.exe\xe2\x81\xa6", "\\xe2\\x80\\xaetxt.exe\\xe2\\x81\\xa6" },
                /* Invalid UTF-8: a lone CSI byte, an overlong form of it, a truncated one. */
                { "\x9b"
                  "31m",
                  "\\x9b31m" },
                { "\xe0\x82\x9b", "\\xe0\\x82\\x9b" },
                { "\xe2\x80", "\\xe2\\x80" },
        };
        size_t i;

        for (i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *s = format_printable(cases[i].s);

                g_assert_cmpstr(s, ==, cases[i].shown);
                free(s);
        }
}

static void test_json(void) {
        char *s = json_string("\"\\\n\x01\x7fü");

        g_assert_cmpstr(s, ==, "\"\\\"\\\\\\u000a\\u0001\\u007fü\"");
        free(s);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/words/addresses", test_addresses);
        g_test_add_func("/words/owners", test_owners);
        g_test_add_func("/words/owners with many members", test_big_entries);
        g_test_add_func("/words/bytes for people", test_bytes);
        g_test_add_func("/words/progress", test_progress);
        g_test_add_func("/words/nothing plays tricks on a terminal", test_printable);
        g_test_add_func("/words/JSON strings", test_json);
        return g_test_run();
}
