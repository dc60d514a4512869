/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libmshare-preload.so promises beyond one mapping: several mappings, System V segments, servers that close their
 * descriptors, which regions a server uses, and what is reported. Runs with the library preloaded. The program also runs
 * itself as a server: see begin_as_server().
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "preload-helpers.h"

static void serve_several(void) {
        char *p, *q, *s;

        p = map_shared(BIG, 0);
        q = map_shared(BIG + 1, 0);
        CHECK(in_region(p) && q == p + BIG);
        memset(p, 1, BIG);
        memset(q, 2, BIG + 1);
        /* There is no room for a third, which is refused and reported; the others stay. */
        s = map_shared(2 * BIG, 0);
        CHECK(s == MAP_FAILED && errno == ENOMEM);
        CHECK(p[BIG - 1] == 1 && q[BIG] == 2);
        /* No other process shares it: unmapped memory is free again, and zero. */
        CHECK(munmap(p, BIG) == 0);
        p = map_shared(BIG, 0);
        CHECK(p == q - BIG && is_zero(p, BIG) && q[0] == 2);
        CHECK(munmap(q, BIG + 4096) == 0);
        CHECK(munmap(p, BIG) == 0);
        p = map_shared(3 * BIG, 0);
        CHECK(in_region(p) && is_zero(p, 3 * BIG));
}

static void test_several(void) {
        g_autofree char *text = NULL;

        make_region("r", 3 * BIG, NULL, NULL);
        g_assert_cmpint(run_server(serve_several, "r", NULL, NULL, &text), ==, 0);
        g_assert_nonnull(
                strstr(text, "Placed 67108864 bytes of shared memory in region 'r', from byte 0 of its 201326592"));
        g_assert_nonnull(strstr(text, "Placed 67112960 bytes of shared memory in region 'r', from byte 67108864 of"));
        g_assert_nonnull(strstr(text, "needs 134217728 in addition to the 134221824 that it and its processes use"));
        drop_region("r");
}

/* As nginx: the new mapping is made first, then the old one is unmapped while workers still use it. */
static void serve_reload(void) {
        char *p, *q, c;
        pid_t worker;
        int go[2];
        size_t i;

        p = map_shared(BIG, 0);
        CHECK(in_region(p) && pipe2(go, O_CLOEXEC) == 0);
        memset(p, 7, BIG);
        worker = fork();
        if (worker == 0) {
                (void) close(go[1]);
                (void) !read(go[0], &c, 1);
                _exit(p[0] == 7 && p[BIG - 1] == 7 ? 0 : 1);
        }
        q = map_shared(BIG + MIB, 0);
        CHECK(in_region(q) && q != p && is_zero(q, BIG + MIB));
        CHECK(munmap(p, BIG) == 0);
        memset(q, 8, BIG + MIB);
        /* The old range is not reused while there is a worker that may map it. */
        p = map_shared(BIG, 0);
        CHECK(p == MAP_FAILED && errno == ENOMEM);
        (void) close(go[1]);
        CHECK(wait_child(worker) == 0);
        for (i = 0; i < BIG + MIB; i += 4096)
                CHECK(q[i] == 8);
        p = map_shared(BIG, 0);
        CHECK(in_region(p) && p < q && is_zero(p, BIG));
}

static void test_reload(void) {
        make_region("r", 2 * BIG + MIB, NULL, NULL);
        g_assert_cmpint(run_server(serve_reload, "r", NULL, NULL, NULL), ==, 0);
        drop_region("r");
}

/* As nginx again: the process that maps goes into the background, as a child. */
static void serve_daemon(void) {
        char *p = map_shared(BIG, 0), *q;
        int alive[2];
        pid_t child;
        char c;

        CHECK(in_region(p) && pipe(alive) == 0);
        child = fork();
        if (child == 0) {
                (void) close(alive[1]);
                /* While the server lives, mappings of its children are private to them. */
                q = map_shared(BIG, 0);
                CHECK(q != MAP_FAILED && !in_region(q));
                if (fork() == 0) {
                        CHECK(read(alive[0], &c, 1) == 0);
                        g_usleep(100000);
                        CHECK(map_shared(BIG, 0) == p + BIG);
                }
                _exit(0);
        }
        CHECK(wait_child(child) == 0);
}

static void test_daemon(void) {
        g_autofree char *text = NULL;

        make_region("r", 2 * BIG, NULL, NULL);
        g_assert_cmpint(run_server(serve_daemon, "r", NULL, NULL, &text), ==, 0);
        g_assert_nonnull(strstr(text, "from byte 67108864 of"));
        g_assert_nonnull(strstr(text, "the process is a child of the server"));
        assert_clients("r", 0);
        drop_region("r");
}

static void serve_closing(void) {
        char *p = map_shared(BIG, 0), *q;
        int fds[64], i;
        pid_t pid;

        CHECK(in_region(p));
        memset(p, 7, BIG);
        (void) closefrom(3);
        /* The server uses these descriptor numbers now. */
        for (i = 0; i < 64; i++)
                CHECK((fds[i] = open("/dev/null", O_RDWR)) >= 0);

        pid = fork();
        if (pid == 0)
                (void) execl(self, self, "map", NULL);
        CHECK(pid > 0 && wait_child(pid) == 3);
        pid = fork();
        if (pid == 0) {
                char *argv[] = { (char *) "other", (char *) "map", NULL };

                /* Another server, which the environment of the first does not exclude. The library's execve() would. */
                g_setenv("MSHARE_REGION", "r", true);
                g_unsetenv("MSHARE_TAKEN");
                g_setenv("LD_PRELOAD", g_getenv("TEST_PRELOAD"), true);
                g_setenv("WANTED_ERRNO", "16", true);
                (void) syscall(SYS_execve, "/proc/self/exe", argv, environ);
        }
        CHECK(wait_child(pid) == 0);
        CHECK(p[0] == 7 && memcmp(p, p + 1, BIG - 1) == 0);

        pid = fork();
        if (pid == 0) {
                CHECK(munmap(p, BIG) == 0);
                _exit(0);
        }
        CHECK(wait_child(pid) == 0);
        /* The server itself is not excluded from its own region. */
        q = map_shared(BIG, 0);
        CHECK(q == p + BIG);
        CHECK(munmap(p, BIG) == 0 && munmap(q, BIG) == 0);
        for (i = 0; i < 64; i++)
                CHECK(fcntl(fds[i], F_GETFD) >= 0);
}

static void test_closing(void) {
        g_autofree char *text = NULL;

        make_region("r", 2 * BIG, NULL, NULL);
        g_assert_cmpint(run_server(serve_closing, "r", NULL, NULL, &text), ==, 0);
        g_assert_nonnull(strstr(text, "uses it; number of processes that share it: 1"));
        drop_region("r");
}

static void serve_nothing(void) {
        char *p = map_shared(BIG, 0);

        CHECK(p == MAP_FAILED);
}

static void assert_refused(const char *region, const char *variable, const char *value, const char *part) {
        g_autofree char *text = NULL;

        g_setenv(variable, value, true);
        g_assert_cmpint(run_server(serve_nothing, region, NULL, NULL, &text), ==, 0);
        g_unsetenv(variable);
        assert_sentence(text, part, "MSHARE_FALLBACK is not yes");
        assert_clients(region, 0);
}

static void test_trust(void) {
        make_region("r", BIG, NULL, NULL);
        assert_refused("r", "FAKE_MSHARE_UID", "4711", "its owner, user 4711, could read");
        assert_refused("r", "FAKE_MSHARE_NO_FDINFO", "1", "does not show how many processes share it");
        drop_region("r");

        /* Without a file from the broker it opens the file in msharefs. */
        make_region("named", BIG, NULL, NULL);
        assert_refused("named", "FAKE_MSHARE_UID", "4711", "its owner, user 4711, could read");
        assert_refused("named", "FAKE_MSHARE_READ_ONLY", "1",
                       "Cannot claim region 'named': /sys/fs/mshare/named: Permission denied");
        drop_region("named");
}

static void serve_segment(void) {
        struct shmid_ds ds;
        /* The whole machine uses the same keys. */
        const key_t key = 0x6d000000 | getpid();
        char *p, *q;
        pid_t pid;
        int id;

        id = shmget(key, BIG + 4097, IPC_CREAT | IPC_EXCL | 0600);
        CHECK(id >= 0);
        CHECK(shmget(key, BIG, IPC_CREAT | IPC_EXCL | 0600) < 0 && errno == EEXIST);
        p = shmat(id, NULL, 0);
        CHECK(in_region(p) && is_zero(p, BIG + 4097));
        CHECK(shmat(id, NULL, 0) == p && shmdt(p) == 0);
        CHECK(shmget(key, BIG, 0) == id && shmget(key, 16, 0) == id);
        CHECK(shmat(id, p + 4096, 0) == (void *) -1 && errno == EINVAL);
        memset(p, 7, BIG + 4097);
        (void) memcpy(p, "header", 6);
        pid = fork();
        if (pid == 0) {
                CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_nattch == 2 && ds.shm_segsz == BIG + 4097);
                p[BIG] = 8;
                CHECK(shmdt(p) == 0 && shmdt(p) < 0 && errno == EINVAL);
                CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_nattch == 1);
                /* Another postmaster checks who owns the segment, in its own program. */
                q = (char *) syscall(SYS_shmat, id, NULL, SHM_RDONLY);
                CHECK(q != (void *) -1 && memcmp(q, "header", 6) == 0);
                /* Its exact size: nothing large is outside the region. */
                CHECK(syscall(SYS_shmctl, id, IPC_STAT, &ds) == 0 && ds.shm_segsz == 4096);
                _exit(0);
        }
        CHECK(wait_child(pid) == 0 && p[BIG] == 8);
        CHECK(munmap(p, BIG) < 0 && errno == EINVAL);
        CHECK(shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_nattch == 1);
        /* After a crash everything is made again, at the same place. */
        CHECK(shmdt(p) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
        id = shmget(key, BIG + 4097, IPC_CREAT | 0600);
        CHECK(id >= 0);
        q = shmat(id, NULL, 0);
        CHECK(q == p && is_zero(q, BIG + 4097));
        CHECK(shmctl(id, IPC_RMID, NULL) == 0);
        q[0] = 1;
        CHECK(shmdt(q) == 0 && shmat(id, NULL, 0) == (void *) -1);
        /* Segments that are too small, or that existed before, belong to the kernel. */
        id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
        q = shmat(id, NULL, 0);
        CHECK(q != (void *) -1 && !in_region(q) && shmdt(q) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

static void serve_segment_refused(void) {
        const key_t key = 0x6d000000 | getpid();
        struct shmid_ds ds;
        int id;

        CHECK(shmget(IPC_PRIVATE, BIG, IPC_CREAT | SHM_HUGETLB | 0600) < 0 && errno == ENOMEM);
        id = shmget(key, BIG, IPC_CREAT | IPC_EXCL | 0600);
        CHECK(id < 0 && errno == ENOMEM);
        /* Nothing is left over. */
        CHECK(shmget(key, 0, 0) < 0 && errno == ENOENT);
        CHECK(shmctl(-1, IPC_STAT, &ds) < 0);
}

static void test_segments(void) {
        g_autofree char *text = NULL;

        make_region("r", BIG + 8192, NULL, NULL);
        expect(serve_segment, "r", NULL, 2);
        drop_region("r");
        make_region("r", BIG - 4096, NULL, NULL);
        g_assert_cmpint(run_server(serve_segment_refused, "r", NULL, NULL, &text), ==, 0);
        assert_sentence(text, "it has 67104768 bytes, and the server needs 67108864", "MSHARE_FALLBACK is not yes");
        drop_region("r");
}

static void serve_exact(void) {
        char *p = map_shared(BIG - 4096, MAP_HUGETLB);

        /* As PostgreSQL: first rounded up for huge pages, then the exact size. */
        p = map_shared(BIG, MAP_HUGETLB);
        CHECK(p == MAP_FAILED && errno == ENOMEM);
        p = map_shared(BIG - 4096, 0);
        CHECK(in_region(p));
}

static void test_exact(void) {
        make_region("r", BIG - 4096, NULL, NULL);
        expect(serve_exact, "r", "1M", 1);
        drop_region("r");
}

static void fork_twice(void) {
        for (int i = 0; i < 2; i++)
                if (fork() == 0)
                        _exit(0);
}

static void serve_small_then_fork(void) {
        CHECK(!in_region(map_shared(2 * MIB, 0)) && !in_region(map_shared(20 * MIB, 0)));
        fork_twice();
}

static void serve_unfit(void) {
        CHECK(!in_region(map_shared(BIG, MAP_32BIT)) && !in_region(map_shared(BIG, MAP_32BIT)));
}

/* As PHP's opcache if it is large: first where there cannot be so much, then anywhere. */
static void serve_unfit_first(void) {
        CHECK(map_shared(48 * BIG, MAP_32BIT) == MAP_FAILED);
        CHECK(in_region(map_shared(BIG, 0)));
}

/* As a module whose mmap() is that of the C library. */
static void serve_unseen(void) {
        long p = syscall(SYS_mmap, NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        CHECK(p > 0 && !in_region((void *) p) && !in_region(map_shared(2 * MIB, 0)));
        fork_twice();
}

/* What the library has let pass is said once, and small mappings or those of one process are not what it is for. */
static void serve_seen(void) {
        serve_unfit();
        fork_twice();
}

static void serve_unseen_but_unfit(void) {
        CHECK(syscall(SYS_mmap, NULL, BIG / 2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) > 0);
        CHECK(syscall(SYS_mmap, NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) > 0);
        CHECK(syscall(SYS_mmap, NULL, BIG, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0) > 0);
        fork_twice();
}

static void serve_insisting(void) {
        (void) execl(self, self, "insist", NULL);
}

static void serve_unset(void) {
        CHECK(!in_region(map_shared(BIG, 0)) && !in_region(map_shared(BIG, 0)));
}

static void serve_unset_segment(void) {
        int id = shmget(IPC_PRIVATE, BIG, IPC_CREAT | 0600);

        CHECK(id >= 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

static void assert_told(void (*server)(void), const char *part, const char *ending) {
        g_autofree char *text = NULL;

        (void) run_server(server, "r", "no", NULL, &text);
        assert_sentence(text, part, ending);
}

/* A misspelt name of the setting, say. */
static void test_unset(void) {
        static void (*const servers[])(void) = { serve_unset, serve_unset_segment };

        for (size_t i = 0; i < G_N_ELEMENTS(servers); i++) {
                g_autofree char *text = NULL;

                g_assert_cmpint(run_server(servers[i], NULL, "no", NULL, &text), ==, 0);
                assert_sentence(text, "67108864 bytes of shared memory", "MSHARE_REGION is not set");
        }
}

static void test_told(void) {
        g_autofree char *text = NULL;

        make_region("r", BIG, NULL, NULL);
        assert_told(serve_small_then_fork, "the largest shared mapping has 20971520 bytes",
                    "MSHARE_MIN_SIZE is 67108864");
        assert_told(serve_unfit, "requested below 2 GiB (MAP_32BIT)", "where no window can be");
        assert_told(serve_seen, "requested below 2 GiB (MAP_32BIT)", "where no window can be");
        assert_told(serve_unseen, "67108864 bytes of shared memory are not in region 'r': this library did not see",
                    "for example PHP 8.2's");
        assert_told(serve_unfit_first, "Placed 67108864 bytes", "");
        g_assert_cmpint(run_server(serve_unseen_but_unfit, "r", "no", NULL, &text), ==, 0);
        g_assert_cmpstr(text, ==, "");
        assert_told(serve_insisting,
                    "Cannot place 67108864 bytes in region 'r': the server requires huge pages of hugetlbfs",
                    "set huge_pages=try in PostgreSQL");
        drop_region("r");
}

int main(int argc, char *argv[]) {
        int r = begin_as_server(argc, argv);

        if (r >= 0)
                return r;
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/servers/several mappings", test_several);
        g_test_add_func("/servers/a mapping that grows by reload", test_reload);
        g_test_add_func("/servers/one that goes into the background", test_daemon);
        g_test_add_func("/servers/one that closes all descriptors", test_closing);
        g_test_add_func("/servers/whose region is used", test_trust);
        g_test_add_func("/servers/System V segments", test_segments);
        g_test_add_func("/servers/a region of exactly that size", test_exact);
        g_test_add_func("/servers/what is not placed is reported", test_told);
        g_test_add_func("/servers/that no region is named is reported", test_unset);
        return g_test_run();
}
