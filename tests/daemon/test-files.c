/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State files of regions, and settings with drop-ins, as they are written and read. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "model/config.h"
#include "model/record.h"

/* g_assert_* on a copy, because the parsers change their text. */
static int parse_state(const char *text, RegionRecord *ret) {
        g_autofree char *copy = g_strdup(text);

        return region_record_parse(copy, ret);
}

static RegionRecord sample(void) {
        return (RegionRecord){
                .name = g_strdup("pgdata"),
                .id = UINT64_C(0xfedcba9876543210),
                .address = UINT64_C(17) << 40,
                .length = UINT64_C(1) << 39,
                .size = 12345,
                .mode = 0640,
                .uid = 26,
                .gid = 27,
                .creator = 1000,
                .backing = BACKING_MEMFD,
                .hugepages = HUGEPAGES_ADVISE,
                .numa = { .mode = NUMA_BIND, .nodes.bits = { 5 } },
                .lifetime = LIFETIME_WHILE_LEASED,
                .linger_usec = 5,
                .created_usec = 1795402050313836,
                .inode = 42,
                .label = g_strdup("line\nbreak \\ and ü"),
                .ready = true,
                .leased = true,
        };
}

static void test_state_of_a_resize(void) {
        static const struct {
                const char *extent;
                uint64_t want;
                int parsed;
        } lines[] = {
                { "23456", 23456, 0 },
                /* Valid: larger than the size, and at most the window. */
                { "549755813888", UINT64_C(1) << 39, 0 },
                { "549755813889", 0, 0 },
                { "12345", 0, 0 },
                { "0", 0, 0 },
                { "-1", 0, 1 },
                { "", 0, 1 },
        };
        RegionRecord a = sample(), b;
        g_autofree char *settled = region_record_format(&a), *text = NULL;

        g_assert_null(strstr(settled, "EXTENT="));
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                g_autofree char *more = g_strconcat(settled, "EXTENT=", lines[i].extent, "\n", NULL);

                g_assert_cmpint(parse_state(more, &b), ==, lines[i].parsed);
                g_assert_cmpuint(b.extent, ==, lines[i].want);
                g_assert_cmpuint(region_record_held(&b), ==, lines[i].want ?: a.size);
                region_record_done(&b);
        }
        a.extent = 23456;
        text = region_record_format(&a);
        g_assert_cmpint(parse_state(text, &b), ==, 0);
        g_assert_cmpuint(b.size, ==, a.size);
        g_assert_cmpuint(b.extent, ==, a.extent);
        region_record_done(&a);
        region_record_done(&b);
}

static void test_state_of_a_suspension(void) {
        static const char holder[] = "0123456789abcdef0123456789abcdef:1.42";
        /* Without a final mode there is no holder, and without one of the two lines nothing is done when it leaves. */
        static const struct {
                const char *final_mode, *holder, *before;
                bool has_holder, has_before;
                int parsed;
        } lines[] = {
                { "640", holder, "604:5:60", true, true, 0 },
                { "640", holder, "none", true, false, 0 },
                { "640", holder, NULL, false, false, 0 },
                { "640", NULL, "604:5:60", false, false, 0 },
                { NULL, holder, "604:5:60", false, false, 0 },
                { "640", "", "604:5:60", false, false, 1 },
                { "640", "1.42", "604:5:60", false, false, 1 },
                { "640", ":1.4 2", "604:5:60", false, false, 1 },
                { "640", holder, "", false, false, 1 },
                { "640", holder, "604:5", false, false, 1 },
                { "640", holder, "604:5:60:7", false, false, 1 },
                { "640", holder, "1604:5:60", false, false, 1 },
                { "640", holder, "604:-5:60", false, false, 1 },
                { "640", holder, "604:99999999999:60", false, false, 1 },
                { "640", holder, "604:4294967295:60", false, false, 0 },
        };
        RegionRecord a = sample(), b;
        g_autofree char *open = region_record_format(&a), *closed = NULL, *text = NULL;

        g_assert_true(!strstr(open, "HOLDER=") && !strstr(open, "BEFORE="));
        a.mode = 0;
        closed = region_record_format(&a);
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                g_autoptr(GString) s = g_string_new(closed);

                if (lines[i].final_mode)
                        g_string_append_printf(s, "FINAL_MODE=%s\n", lines[i].final_mode);
                if (lines[i].holder)
                        g_string_append_printf(s, "HOLDER=%s\n", lines[i].holder);
                if (lines[i].before)
                        g_string_append_printf(s, "BEFORE=%s\n", lines[i].before);
                if (parse_state(s->str, &b) != lines[i].parsed || !b.holder == lines[i].has_holder ||
                    b.has_before != lines[i].has_before)
                        g_error("%s", s->str);
                if (lines[i].has_before)
                        g_assert_true(b.before_mode == 0604 && b.before_uid == 5 && b.before_gid == 60);
                region_record_done(&b);
        }
        a.final_mode = 0640;
        a.holder = g_strdup(holder);
        a.has_before = true;
        a.before_mode = 0604;
        a.before_gid = 60;
        text = region_record_format(&a);
        g_assert_cmpint(parse_state(text, &b), ==, 0);
        g_assert_cmpstr(b.holder, ==, holder);
        g_assert_true(b.final_mode == 0640 && b.has_before && b.before_mode == 0604);
        g_assert_true(b.before_uid == 0 && b.before_gid == 60);
        region_record_done(&a);
        region_record_done(&b);
}

static void test_state_survives_the_file(void) {
        RegionRecord a = sample(), b;
        g_autofree char *text = region_record_format(&a);

        g_assert_cmpint(parse_state(text, &b), ==, 0);
        g_assert_cmpstr(a.name, ==, b.name);
        g_assert_cmpstr(a.label, ==, b.label);
        g_assert_cmpuint(a.id, ==, b.id);
        g_assert_cmpuint(a.address, ==, b.address);
        g_assert_cmpuint(a.length, ==, b.length);
        g_assert_cmpuint(a.size, ==, b.size);
        g_assert_cmpuint(a.mode, ==, b.mode);
        g_assert_cmpuint(a.uid, ==, b.uid);
        g_assert_cmpuint(a.gid, ==, b.gid);
        g_assert_cmpuint(a.creator, ==, b.creator);
        g_assert_cmpint(a.backing, ==, b.backing);
        g_assert_cmpint(a.hugepages, ==, b.hugepages);
        g_assert_cmpmem(&a.numa, sizeof(a.numa), &b.numa, sizeof(b.numa));
        g_assert_cmpint(a.lifetime, ==, b.lifetime);
        g_assert_cmpuint(a.linger_usec, ==, b.linger_usec);
        g_assert_cmpuint(a.created_usec, ==, b.created_usec);
        g_assert_cmpuint(a.inode, ==, b.inode);
        g_assert_true(b.ready && b.leased);
        region_record_done(&a);
        region_record_done(&b);
}

static void replace(GString *s, const char *key, const char *value) {
        g_autofree char *start = g_strdup_printf("\n%s=", key);
        char *p = strstr(s->str, start), *end = strchr(p + 1, '\n');
        gssize at = p + strlen(start) - s->str;

        g_string_erase(s, at, end - s->str - at);
        g_string_insert(s, at, value);
}

static void test_of_hostile_state_the_rest_is_taken(void) {
        static const char *const wrong[][2] = {
                { "VERSION", "" },
                { "NAME", "" },
                { "NAME", "../../etc/passwd" },
                { "NAME", ".." },
                { "NAME", "a\\x2fb" },
                { "NAME", "a\\x0ab" },
                { "NAME", "\\" },
                { "NAME", "\xff" },
                { "ID", "xyz" },
                { "ADDRESS", "-1" },
                { "ADDRESS", "18446744073709551615" },
                { "LENGTH", "0" },
                { "LENGTH", "99999999999999999999" },
                { "SIZE", "0" },
                { "SIZE", "18446744073709551615" },
                { "MODE", "7777" },
                { "MODE", "rw" },
                { "UID", "4294967295" },
                { "UID", "-1" },
                { "UID", "4294967296" },
                { "GID", "x" },
                { "CREATOR", "" },
                { "BACKING", "cheese" },
                { "HUGEPAGES", "1" },
                { "NUMA", "bind:" },
                { "LIFETIME", "" },
                { "READY", "maybe" },
                { "LEASED", "2" },
                { "LINGER", "1e9" },
                { "INODE", " 1" },
                { "LABEL", "\\x" },
        };
        RegionRecord a = sample(), b = {};
        g_autofree char *text = region_record_format(&a);
        g_autofree char *twice = g_strconcat(text, "UID=0\nID=0000000000000001\nCREATOR=0\n", NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_autoptr(GString) s = g_string_new(text);
                const char *key = wrong[i][0];

                replace(s, key, wrong[i][1]);
                if (parse_state(s->str, &b) != 1)
                        g_error("%s=%s was accepted", key, wrong[i][1]);
                g_assert_cmpstr(b.name, ==, streq(key, "NAME") ? NULL : "pgdata");
                g_assert_cmpstr(b.label, ==, streq(key, "LABEL") ? NULL : a.label);
                g_assert_true(b.has_id == !streq(key, "ID"));
                g_assert_true(!b.has_id || b.id == a.id);
                g_assert_true(b.has_size == !streq(key, "SIZE"));
                g_assert_true(b.has_ready == !streq(key, "READY"));
                g_assert_true(b.has_window == !(streq(key, "LENGTH") || streq(key, "ADDRESS")));
                g_assert_cmpuint(b.creator, ==, streq(key, "CREATOR") ? (uid_t) -1 : a.creator);
                g_assert_cmpint(b.backing, ==, streq(key, "BACKING") ? BACKING_UNKNOWN : a.backing);
                g_assert_cmpint(b.lifetime, ==, streq(key, "LIFETIME") ? LIFETIME_PERSISTENT : a.lifetime);
                region_record_done(&b);
        }
        /* A missing line, a key twice, a line without a key. */
        for (const char *p = strstr(text, "VERSION"); *p; p = strchr(p, '\n') + 1) {
                g_autoptr(GString) s = g_string_new(text);

                g_string_erase(s, p - text, strchr(p, '\n') + 1 - p);
                /* Except for the policy, which earlier versions did not know. */
                g_assert_cmpint(parse_state(s->str, &b), ==, g_str_has_prefix(p, "NUMA=") ? 0 : 1);
                g_assert_cmpint(b.numa.mode, ==, g_str_has_prefix(p, "NUMA=") ? NUMA_DEFAULT : NUMA_BIND);
                region_record_done(&b);
        }
        g_assert_cmpint(parse_state(twice, &b), ==, 1);
        g_assert_true(!b.has_id && b.creator == (uid_t) -1 && b.has_size);
        region_record_done(&b);
        g_assert_cmpint(parse_state("VERSION=1\nhello\n", &b), ==, 1);
        region_record_done(&b);
        g_assert_cmpint(parse_state("", &b), ==, 1);
        g_assert_true(!b.name && !b.has_id && !b.has_ready && b.creator == (uid_t) -1);
        region_record_done(&b);
        /* Lines of a later version do no harm, and are kept for its return. */
        {
                g_autofree char *more = g_strconcat(text, "FLAVOUR=vanilla\nCOLOUR=red\n", NULL), *again = NULL;
                g_autoptr(GString) s = g_string_new(more);

                replace(s, "VERSION", "2");
                g_assert_cmpint(parse_state(s->str, &b), ==, 0);
                again = region_record_format(&b);
                g_assert_cmpstr(again, ==, more);
                region_record_done(&b);
        }
        region_record_done(&a);
}

typedef struct Dir {
        char *path;
        int fd;
} Dir;

static void dir_setup(Dir *d, gconstpointer unused) {
        d->path = g_dir_make_tmp("mshared-XXXXXX", NULL);
        g_assert_nonnull(d->path);
        d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(d->fd, >=, 0);
}

static void dir_teardown(Dir *d, gconstpointer unused) {
        const char *argv[] = { "rm", "-rf", d->path, NULL };

        g_assert_true(
                g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
        close(d->fd);
        g_free(d->path);
}

static void put(Dir *d, const char *name, const char *content) {
        g_autofree char *path = g_build_filename(d->path, name, NULL), *dir = g_path_get_dirname(path);

        g_assert_cmpint(g_mkdir_with_parents(dir, 0755), ==, 0);
        g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

static void test_files_are_read_whole_or_not(Dir *d, gconstpointer unused) {
        g_autofree char *text = NULL, *other = NULL;
        size_t size;

        put(d, "ten", "0123456789");
        g_assert_cmpint(read_file(d->fd, "ten", 10, &text, &size), ==, 0);
        g_assert_cmpuint(size, ==, 10);
        g_assert_cmpstr(text, ==, "0123456789");
        g_assert_cmpint(read_file(d->fd, "ten", 9, &other, NULL), ==, -EFBIG);
        g_assert_cmpint(read_file(d->fd, "none", 9, &other, NULL), ==, -ENOENT);
        g_assert_cmpint(mkfifoat(d->fd, "fifo", 0600), ==, 0);
        g_assert_cmpint(read_file(d->fd, "fifo", 9, &other, NULL), ==, -EBADMSG);
        g_assert_cmpint(read_file(d->fd, ".", 9, &other, NULL), ==, -EBADMSG);
        {
                int fd = openat(d->fd, "nul", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                g_assert_cmpint(write(fd, "a\0b", 3), ==, 3);
                close(fd);
                g_assert_cmpint(read_file(d->fd, "nul", 9, &other, NULL), ==, -EILSEQ);
        }
        g_assert_null(other);
        g_assert_cmpint(write_file_atomic(d->fd, "ten", "new"), ==, 0);
        g_free(g_steal_pointer(&text));
        g_assert_cmpint(read_file(d->fd, "ten", 10, &text, NULL), ==, 0);
        g_assert_cmpstr(text, ==, "new");
        g_assert_cmpint(faccessat(d->fd, ".#new", F_OK, 0), ==, -1);
        g_assert_cmpint(write_file_atomic(d->fd, "no/such/dir", "x"), <, 0);
        g_assert_cmpint(faccessat(d->fd, ".#new", F_OK, 0), ==, -1);
}

static void note(const char *file, unsigned line, const char *message, void *userdata) {
        g_autofree char *base = g_path_get_basename(file);

        g_string_append_printf(userdata, "%s:%u ", base, line);
}

static void test_drop_ins_override_in_their_order(Dir *d, gconstpointer unused) {
        g_autofree char *etc = g_build_filename(d->path, "etc", NULL), *lib = g_build_filename(d->path, "lib", NULL);
        const char *dirs[] = { etc, lib, NULL };
        g_autoptr(GString) said = g_string_new(NULL);
        Config config;

        put(d, "etc/mshared.conf", "# none\n[Limits]\nRegionsMax = 7\nBytesPerUserMax=2G\n");
        put(d, "lib/mshared.conf", "[Limits]\nRegionsMax=9\nLeasesPerUserMax=9\n");
        put(d, "lib/mshared.conf.d/50-b.conf", "[Limits]\nRegionsMax=50\n[Log]\nLevel=debug\n");
        put(d, "lib/mshared.conf.d/10-a.conf", "[Limits]\nRegionsMax=10\nRegionsPerUserMax=\\\n 11\n");
        put(d, "etc/mshared.conf.d/50-b.conf", "[Limits]\nLeasesPerRegionMax=infinity\n");
        put(d, "etc/mshared.conf.d/60-wrong.conf",
            "RegionsMax=1\n[Limits\n[Limits]\nRegionsMax=-5\nCheese=3\nword\n; fine\nRegionsMax=99999999999999999999\n");
        put(d, "etc/mshared.conf.d/notes.txt", "RegionsMax=1\n");
        config_set_defaults(&config);
        g_assert_cmpint(config_load(&config, dirs, note, said), ==, 6);
        g_assert_cmpstr(
                said->str, ==,
                "60-wrong.conf:1 60-wrong.conf:2 60-wrong.conf:4 60-wrong.conf:5 60-wrong.conf:6 60-wrong.conf:8 ");
        g_assert_cmpuint(config.limits.max[LIMIT_REGIONS], ==, 10);
        g_assert_cmpuint(config.limits.max[LIMIT_USER_REGIONS], ==, 11);
        g_assert_cmpuint(config.limits.max[LIMIT_USER_BYTES], ==, UINT64_C(2) << 30);
        g_assert_cmpuint(config.limits.max[LIMIT_REGION_LEASES], ==, UINT64_MAX);
        /* Only the first file named mshared.conf counts. A drop-in hides later ones of the same name. */
        g_assert_cmpuint(config.limits.max[LIMIT_USER_LEASES], ==, 8192);
        g_assert_cmpint(config.log_level, ==, 6);
}

static void test_no_configuration_is_no_error(Dir *d, gconstpointer unused) {
        const char *dirs[] = { "/nonexistent", NULL };
        g_autoptr(GString) said = g_string_new(NULL);
        Config config;

        config_set_defaults(&config);
        g_assert_cmpint(config_load(&config, dirs, note, said), ==, 0);
        g_assert_cmpuint(config.limits.max[LIMIT_REGIONS], ==, 1024);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/state/round-trip", test_state_survives_the_file);
        g_test_add_func("/state/resize", test_state_of_a_resize);
        g_test_add_func("/state/suspension", test_state_of_a_suspension);
        g_test_add_func("/state/hostile", test_of_hostile_state_the_rest_is_taken);
        g_test_add("/file/read-write", Dir, NULL, dir_setup, test_files_are_read_whole_or_not, dir_teardown);
        g_test_add("/config/drop-ins", Dir, NULL, dir_setup, test_drop_ins_override_in_their_order, dir_teardown);
        g_test_add("/config/none", Dir, NULL, dir_setup, test_no_configuration_is_no_error, dir_teardown);
        return g_test_run();
}
