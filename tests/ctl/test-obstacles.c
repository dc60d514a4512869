/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What "msharectl check" concludes from /proc. Processes here are folders with the files that the kernel would show.
 * tests/guest/check.sh tests what the kernel really shows.
 */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "obstacles.h"

#define PID 42
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define MAPS_PROGRAM "55d0c7a00000-55d0c7a21000 r-xp 00000000 08:01 1234 /usr/lib/postgresql/15/bin/postgres\n"
#define MAPS_PRELOAD "7f0000000000-7f0000003000 r-xp 00000000 08:01 99 /usr/lib/x86_64-linux-gnu/libmshare-preload.so\n"
#define MAPS_ZERO "7e0000000000-7e0010000000 rw-s 00000000 00:01 1025 /dev/zero (deleted)\n" /* 256 MiB */
#define MAPS_SMALL "7d0000000000-7d0000100000 rw-s 00000000 00:01 1026 /dev/zero (deleted)\n" /* 1 MiB */
#define MAPS_SYSV "7c0000000000-7c0010000000 rw-s 00000000 00:01 3 /SYSV0052e2c1 (deleted)\n"
#define MAPS_WINDOW "200000000000-208000000000 rw-s 00000000 00:2d 7 /sys/fs/mshare/pgdata\n"
#define MAPS_OTHERS                                                                                                    \
        "7b0000000000-7b0010000000 r--s 00000000 00:01 4 /dev/zero (deleted)\n"                                        \
        "7a0000000000-7a0010000000 rw-p 00000000 00:00 0 \n"                                                           \
        "790000000000-790010000000 rw-s 00000000 00:1a 5 /dev/shm/PostgreSQL.1 with space\n"

#define STATUS                                                                                                           \
        "Name:\tpostgres\nUid:\t107\t107\t107\t107\nGid:\t115\t115\t115\t115\nGroups:\t114 115 \nVmPeak:\t  300000 kB\n" \
        "VmSize:\t  300000 kB\n"
#define LIMITS                                                                                                         \
        "Limit                     Soft Limit           Hard Limit           Units     \n"                             \
        "Max cpu time              unlimited            unlimited            seconds   \n"
#define MOUNTS                                                                                                         \
        "22 27 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"                                                      \
        "40 22 0:45 / /sys/fs/mshare rw,relatime shared:20 - msharefs msharefs rw,mode=755\n"

typedef struct Scene {
        char *proc;
} Scene;

static void put(const Scene *s, const char *name, const char *text, gssize size) {
        g_autofree char *path = g_strdup_printf("%s/%d/%s", s->proc, PID, name);

        g_assert_true(g_file_set_contents(path, text, size, NULL));
}

static void setup(Scene *s, gconstpointer data) {
        static const char environment[] = "PATH=/bin\0MSHARE_REGION=pgdata\0MSHARE_MIN_SIZE=32M";
        g_autofree char *folder = NULL;

        s->proc = g_dir_make_tmp("mshare-proc-XXXXXX", NULL);
        folder = g_strdup_printf("%s/%d", s->proc, PID);
        g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
        put(s, "maps", MAPS_PROGRAM MAPS_PRELOAD MAPS_ZERO, -1);
        put(s, "status", STATUS "Seccomp:\t0\n", -1);
        put(s, "limits", LIMITS "Max address space         unlimited            unlimited            bytes     \n", -1);
        put(s, "mountinfo", MOUNTS, -1);
        put(s, "environ", environment, sizeof(environment));
}

static void teardown(Scene *s, gconstpointer data) {
        static const char *const names[] = { "maps", "status", "limits", "mountinfo", "environ", "" };
        size_t i;

        for (i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = g_strdup_printf("%s/%d/%s", s->proc, PID, names[i]);

                (void) g_remove(path);
        }
        (void) g_rmdir(s->proc);
        g_free(s->proc);
}

static void test_mappings(Scene *s, gconstpointer data) {
        Mappings m;

        put(s, "maps", MAPS_PROGRAM MAPS_SMALL MAPS_OTHERS MAPS_WINDOW, -1);
        g_assert_cmpint(process_read_mappings(s->proc, PID, &m), ==, 0);
        g_assert_cmpuint(m.n, ==, 6);
        g_assert_cmphex(m.list[0].start, ==, 0x55d0c7a00000);
        g_assert_cmphex(m.list[0].end, ==, 0x55d0c7a21000);
        g_assert_cmpstr(m.list[0].path, ==, "/usr/lib/postgresql/15/bin/postgres");
        g_assert_cmpstr(m.list[3].path, ==, "");
        g_assert_cmpstr(m.list[4].path, ==, "/dev/shm/PostgreSQL.1 with space");

        /* A window is recognized by its file, not by its path. */
        g_assert_true(mapping_is_window(m.list + 5, makedev(0, 0x2d), 7));
        g_assert_true(mapping_is_window(m.list + 5, makedev(0, 0x2d), 0));
        g_assert_false(mapping_is_window(m.list + 5, makedev(0, 0x2d), 8));
        g_assert_false(mapping_is_window(m.list + 5, makedev(0, 0x2e), 7));
        g_assert_false(mapping_is_window(m.list + 0, makedev(8, 1), 0));

        /* Servers do not share read-only, private or named memory. */
        g_assert_true(largest_outside(&m, 1) == m.list + 1);
        g_assert_null(largest_outside(&m, 2 * MIB));
        mappings_done(&m);

        put(s, "maps", MAPS_ZERO MAPS_SYSV MAPS_SMALL, -1);
        g_assert_cmpint(process_read_mappings(s->proc, PID, &m), ==, 0);
        g_assert_cmpstr(mapping_shared_memory_kind(m.list), ==, "anonymous memory");
        g_assert_cmpstr(mapping_shared_memory_kind(m.list + 1), ==, "a System V segment");
        mappings_done(&m);

        put(s, "maps", "", 0);
        g_assert_cmpint(process_read_mappings(s->proc, PID, &m), ==, 0);
        g_assert_cmpuint(m.n, ==, 0);
        put(s, "maps", "no mapping\n", -1);
        g_assert_cmpint(process_read_mappings(s->proc, PID, &m), ==, -EBADMSG);
        g_assert_cmpint(process_read_mappings(s->proc, PID + 1, &m), ==, -ESRCH);
}

static void test_process(Scene *s, gconstpointer data) {
        Process p;

        g_assert_cmpint(process_read(s->proc, PID, &p), ==, 0);
        g_assert_cmpuint(p.uid, ==, 107);
        g_assert_cmpuint(p.gid, ==, 115);
        g_assert_cmpuint(p.n_groups, ==, 2);
        g_assert_cmpuint(p.groups[0], ==, 114);
        g_assert_cmpuint(p.vm_size, ==, 300000 * 1024);
        g_assert_cmpuint(p.limit_as, ==, UINT64_MAX);
        g_assert_true(p.mounted && !p.read_only && p.seccomp == 0 && p.environment_known);
        g_assert_cmpstr(p.region, ==, "pgdata");
        g_assert_cmpstr(p.min_size, ==, "32M");
        process_done(&p);

        /* A later mount hides an earlier one. */
        put(s, "mountinfo", MOUNTS "50 27 0:50 / /sys ro - sysfs sysfs ro\n", -1);
        g_assert_cmpint(process_read(s->proc, PID, &p), ==, 0);
        g_assert_false(p.mounted);
        process_done(&p);

        /* A server that overwrites its environment with its title. */
        put(s, "environ", "main: postgres\0\0\0", 17);
        g_assert_cmpint(process_read(s->proc, PID, &p), ==, 0);
        g_assert_false(p.environment_known);
        process_done(&p);

        g_assert_cmpint(process_read(s->proc, PID + 1, &p), ==, -ESRCH);
}

/* A right setup, which each test changes. */
static const Target good = {
        .name = "pgdata",
        .exists = true,
        .ready = true,
        .size = GIB,
        .length = 512 * GIB,
        .mode = 0600,
        .uid = 107,
        .gid = 115,
        .acl = "",
};

/* The obstacles, one per line. */
static char *obstacles(const Scene *s, const Target *t, uint64_t min_size) {
        GString *text = g_string_new(NULL);
        Mappings m;
        Obstacles o;
        Process p;
        size_t i;

        g_assert_cmpint(process_read_mappings(s->proc, PID, &m), ==, 0);
        g_assert_cmpint(process_read(s->proc, PID, &p), ==, 0);
        g_assert_cmpint(obstacles_find(&p, &m, t, min_size, &o), ==, 0);
        for (i = 0; i < o.n; i++)
                g_string_append_printf(text, "%s\n", o.list[i]);
        obstacles_done(&o);
        process_done(&p);
        mappings_done(&m);
        return g_string_free(text, FALSE);
}

static void expect(const Scene *s, const Target *t, uint64_t min_size, const char *pattern) {
        g_autofree char *text = obstacles(s, t, min_size);

        if (!g_regex_match_simple(pattern, text, G_REGEX_DOTALL, 0))
                g_error("not /%s/ but:\n%s", pattern, text);
}

#define expect_one(s, t, sentence) expect(s, t, 64 * MIB, "^" sentence "\n$")

static void test_nothing(Scene *s, gconstpointer data) {
        expect(s, &good, 64 * MIB, "^$");
}

static void test_region(Scene *s, gconstpointer data) {
        Target t = good;

        t.unusable = "The broker is not running";
        expect_one(s, &t, "The broker is not running");
        t = good;
        t.exists = false;
        expect_one(s, &t, "There is no region 'pgdata'");
        t = good;
        t.ready = false;
        expect_one(s, &t, "Region 'pgdata' is still being created");
        t = good;
        t.size = 255 * MIB;
        expect_one(s, &t, "Region 'pgdata' is too small: it has 267386880 bytes, .* memory has 268435456");
        t.size = 256 * MIB;
        expect(s, &t, 64 * MIB, "^$");
}

static void test_owner_and_mode(Scene *s, gconstpointer data) {
        Target t = good;

        t.mode = 0400;
        expect_one(s, &t, "Mode 0400 of region 'pgdata', .*, does not admit .*");
        t.mode = 0066; /* not the owner */
        expect_one(s, &t, "Mode 0066 .*");
        t.acl = "user:106:6 user:107:4";
        expect_one(s, &t, "Mode 0066 .*");
        t.acl = "group:1:6 user:107:6";
        expect(s, &t, 64 * MIB, "^$");
        t = good;
        t.uid = 0;
        t.gid = 114;
        t.mode = 0660;
        expect(s, &t, 64 * MIB, "^$");
        t.mode = 0606; /* not the group's */
        expect_one(s, &t, "Mode 0606 .*");
        t.uid = 1000;
        t.mode = 0666;
        expect_one(s, &t, "Region 'pgdata' belongs to .*, but the server runs as .*: the preload library only uses .*");
}

static void test_preload(Scene *s, gconstpointer data) {
        static const char empty[] = "PATH=/bin", other[] = "PATH=/bin\0MSHARE_REGION=other";
        Target unnamed = { .acl = "", .length = 512 * GIB };

        put(s, "environ", empty, sizeof(empty));
        expect_one(s, &good, "MSHARE_REGION is not in the server's environment");
        put(s, "environ", other, sizeof(other));
        expect_one(s, &good, "MSHARE_REGION in the server's environment is 'other', not 'pgdata'");
        expect(s, &unnamed, 64 * MIB, "^$");
        put(s, "environ", "", 0);
        expect(s, &good, 64 * MIB, "^$");
        put(s, "maps", MAPS_PROGRAM MAPS_ZERO, -1);
        expect_one(s, &good, "libmshare-preload.so is not loaded: .*");
}

static void test_memory(Scene *s, gconstpointer data) {
        put(s, "maps", MAPS_PRELOAD MAPS_SMALL MAPS_OTHERS, -1);
        expect_one(s, &good, "The server has no mapping that fits: its largest shared memory is 1M, .* 64M .*");
        expect(s, &good, MIB, "^$");
        put(s, "maps", MAPS_PRELOAD MAPS_OTHERS, -1);
        expect_one(s, &good, "The server has no shared memory that could be in a region");
        put(s, "maps", MAPS_PRELOAD MAPS_SYSV, -1);
        expect(s, &good, 64 * MIB, "^$");
}

static void test_kernel(Scene *s, gconstpointer data) {
        Target t = good;

        put(s, "limits", LIMITS "Max address space         549755813888         unlimited            bytes     \n", -1);
        expect_one(s, &good, "The server's address space is limited to 512G \\(LimitAS=, .* window of 512G");
        t.length = GIB;
        expect(s, &t, 64 * MIB, "^$");
        put(s, "limits", LIMITS "Max address space         1048576              unlimited            bytes     \n", -1);
        expect_one(s, &t, "The server's address space is limited to 1M .*");
        put(s, "limits", LIMITS, -1);

        put(s, "mountinfo", "22 27 0:21 / /sys rw - sysfs sysfs rw\n", -1);
        expect_one(s, &good,
                   "The server does not see msharefs on /sys/fs/mshare, which it needs only if .* by descriptor");
        put(s, "mountinfo", MOUNTS "41 40 0:45 / /sys/fs/mshare ro,relatime - msharefs msharefs rw,mode=755\n", -1);
        expect_one(s, &good,
                   "/sys/fs/mshare is read-only for the server, .* only if .* by descriptor; .*ReadWritePaths=.*");
        put(s, "mountinfo", MOUNTS, -1);

        put(s, "status", STATUS "Seccomp:\t2\n", -1);
        expect_one(s, &good, "A system call filter .* is active .*");
}

static void test_all_at_once(Scene *s, gconstpointer data) {
        Target t = good;

        t.mode = 0;
        put(s, "maps", MAPS_SMALL, -1);
        put(s, "status", STATUS "Seccomp:\t2\n", -1);
        put(s, "mountinfo", "", 0);
        expect(s, &t, 64 * MIB,
               "^Mode 0000.*\nlibmshare-preload.so.*\nThe server has no mapping.*\nThe server does not see msharefs.*\nA system call.*\n$");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add("/check/" name, Scene, NULL, setup, function, teardown)
        ADD("mappings", test_mappings);
        ADD("process", test_process);
        ADD("nothing stands in the way", test_nothing);
        ADD("region", test_region);
        ADD("owner and mode", test_owner_and_mode);
        ADD("preload library", test_preload);
        ADD("memory", test_memory);
        ADD("limits, mounts and filters", test_kernel);
        ADD("all at once", test_all_at_once);
        return g_test_run();
}
