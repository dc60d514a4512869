/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libmshare-preload.so promises to a server that maps its shared memory and forks. Runs with the library
 * preloaded. Each case is a server of its own, forked from here with its own environment.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "bus-helpers.h"
#include "preload-helpers.h"

static void serve_outside(void) {
        char *p = map_shared(BIG, 0);

        CHECK(p != MAP_FAILED && !in_region(p));
        CHECK(munmap(p, BIG) == 0);
}

static void test_inert(void) {
        make_region("r", 2 * BIG, NULL, NULL);
        expect(serve_outside, "", NULL, 0);
        /* Below the threshold. */
        expect(serve_outside, "r", "65M", 0);
        drop_region("r");
}

static void serve_one(void) {
        char *p;
        pid_t pid;

        errno = ELIBSCN;
        p = map_shared(BIG + 5, 0);
        CHECK(p != MAP_FAILED && in_region(p) && errno == ELIBSCN);
        CHECK(is_zero(p, BIG + 5));
        memset(p, 7, BIG + 5);

        pid = fork();
        if (pid == 0) {
                p[3] = 8;
                _exit(p[4] == 7 ? 0 : 1);
        }
        CHECK(wait_child(pid) == 0 && p[3] == 8);
}

static void test_in_the_region(void) {
        make_region("r", 2 * BIG, NULL, NULL);
        expect(serve_one, "r", NULL, 1);
        /* The next server finds zeroes, whatever the previous one left. */
        expect(serve_one, "r", NULL, 1);
        assert_clients("r", 0);
        drop_region("r");
}

static void test_empty_region(void) {
        make_region("e", 2 * BIG, "backing", "empty");
        expect(serve_one, "e", NULL, 1);
        drop_region("e");
}

static void serve_others(void) {
        char *p, *q;
        void *hint;
        int fd;

        p = map_shared(4096, 0);
        CHECK(p != MAP_FAILED && !in_region(p));
        p = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(p != MAP_FAILED && !in_region(p));
        p = mmap(NULL, BIG, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        CHECK(p != MAP_FAILED && !in_region(p));
        hint = p;
        p = mmap(hint, BIG, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        CHECK(p == hint);
        fd = memfd_create("f", MFD_CLOEXEC);
        CHECK(fd >= 0 && ftruncate(fd, (off_t) BIG) == 0);
        p = mmap64(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CHECK(p != MAP_FAILED && !in_region(p));
        CHECK(close(fd) == 0);

        p = map_shared(BIG, MAP_NORESERVE);
        CHECK(in_region(p));
        q = map_shared(BIG, 0);
        CHECK(q == p + BIG);
        CHECK(munmap(q, BIG) == 0);
        q = mremap(hint, BIG, 2 * BIG, MREMAP_MAYMOVE);
        CHECK(q != MAP_FAILED && !in_region(q));
}

static void test_nothing_else(void) {
        g_autofree char *text = NULL;

        make_region("r", 2 * BIG, NULL, NULL);
        g_assert_cmpint(run_server(serve_others, "r", NULL, NULL, &text), ==, 0);
        /* Reported once, for the first mapping that cannot be in a region. */
        g_assert_nonnull(strstr(text, "are not in region 'r': they are not readable and writable"));
        g_assert_null(strstr(text, "MAP_FIXED"));
        drop_region("r");
}

static void serve_small(void) {
        char *p = map_shared(MIB, 0);

        CHECK(in_region(p));
}

static void test_threshold(void) {
        make_region("r", 2 * BIG, NULL, NULL);
        expect(serve_small, "r", "1M", 1);
        expect(serve_small, "r", "1024k", 1);
        expect(serve_small, "r", "1048576", 1);
        drop_region("r");
}

static void serve_huge(void) {
        char *p;

        p = map_shared(BIG, MAP_HUGETLB);
        CHECK(p == MAP_FAILED && errno == ENOMEM);
        p = map_shared(BIG, MAP_HUGETLB | (21 << 26));
        CHECK(p == MAP_FAILED && errno == ENOMEM);
        serve_one();
}

static void test_huge_pages(void) {
        make_region("r", 2 * BIG, NULL, NULL);
        expect(serve_huge, "r", NULL, 1);
        drop_region("r");
}

static void serve_crash(void) {
        char *p, *q;
        pid_t pid;
        int i;

        p = map_shared(BIG, 0);
        CHECK(in_region(p));
        for (i = 0; i < 3; i++) {
                memset(p, 7, BIG);
                pid = fork();
                if (pid == 0) {
                        (void) kill(getpid(), SIGKILL);
                        _exit(0);
                }
                CHECK(wait_child(pid) == -1);

                CHECK(munmap(p, BIG) == 0);
                assert_clients("r", 1);
                /* This does not need the broker. */
                g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent", true);
                q = map_shared(BIG + (size_t) i * MIB, 0);
                CHECK(q == p);
                CHECK(is_zero(q, BIG + (size_t) i * MIB));
                CHECK(munmap(q, BIG + (size_t) i * MIB) == 0);
                q = map_shared(BIG, 0);
                CHECK(q == p);
                g_setenv("DBUS_SYSTEM_BUS_ADDRESS", g_getenv("DBUS_SESSION_BUS_ADDRESS"), true);
        }
}

static void test_recreation(void) {
        make_region("r", 2 * BIG, NULL, NULL);
        expect(serve_crash, "r", NULL, 7);
        drop_region("r");
}

static void serve_logger(void) {
        char *p, c;
        pid_t logger;
        int go[2];

        p = map_shared(BIG, 0);
        CHECK(in_region(p));
        memset(p, 7, BIG);
        CHECK(pipe2(go, O_CLOEXEC) == 0);

        logger = fork();
        if (logger == 0) {
                unsigned char vec;

                (void) close(go[1]);
                CHECK(munmap(p, BIG) == 0);
                CHECK(mincore(p, 4096, &vec) < 0 && errno == ENOMEM);
                (void) !read(go[0], &c, 1);
                /* By now its parent has exited, and the logger was no longer a client. */
                assert_clients("r", 0);
                _exit(0);
        }
        (void) close(go[0]);
        g_usleep(200000);
        CHECK(p[0] == 7 && p[BIG - 1] == 7);
        assert_clients("r", 1);
}

static void test_child_leaves(void) {
        make_region("r", 2 * BIG, NULL, NULL);
        expect(serve_logger, "r", NULL, 1);
        assert_clients("r", 0);
        drop_region("r");
}

static void serve_parts(void) {
        char *p = map_shared(BIG, 0);

        CHECK(in_region(p));
        p[0] = p[4096] = 7;
        CHECK(munmap(p, 4096) < 0 && errno == EINVAL);
        CHECK(munmap(p + 4096, BIG - 4096) < 0 && errno == EINVAL);
        CHECK(munmap(p - 4096, 8192) < 0 && errno == EINVAL);
        CHECK(mremap(p, BIG, 2 * BIG, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
        CHECK(mremap(p, 0, BIG, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
        CHECK(p[0] == 7 && p[4096] == 7);
        /* The library does not handle the range just below the window. */
        CHECK(munmap(p - 4096, 4096) == 0);
        CHECK(munmap(p, BIG) == 0);
}

static void test_parts(void) {
        make_region("r", 2 * BIG, NULL, NULL);
        expect(serve_parts, "r", NULL, 1);
        drop_region("r");
}

static int wanted_errno;

static void serve_refused(void) {
        char *p;

        /* Whatever the result of the second try. */
        p = map_shared(BIG, MAP_HUGETLB);
        CHECK(p == MAP_FAILED && errno == ENOMEM);
        p = map_shared(BIG, 0);
        CHECK(p == MAP_FAILED && errno == wanted_errno);
        /* A mapping that is too small for the region was never refused. */
        p = map_shared(4096, 0);
        CHECK(p != MAP_FAILED);
}

static void serve_unshared(void) {
        char *p;

        /* This machine has no huge pages, so the kernel itself refuses the first. */
        p = map_shared(BIG, MAP_HUGETLB);
        CHECK(p == MAP_FAILED || !in_region(p));
        p = map_shared(BIG, 0);
        CHECK(p != MAP_FAILED && !in_region(p));
        p[0] = 1;
        CHECK(munmap(p, BIG) == 0);
}

static void assert_failure(const char *region, const char *part, int error) {
        g_autofree char *no = NULL, *yes = NULL, *unset = NULL;

        wanted_errno = error;
        g_assert_cmpint(run_server(serve_refused, region, "no", NULL, &no), ==, 0);
        assert_sentence(no, part, "; refusing the memory, because MSHARE_FALLBACK is not yes");
        g_assert_cmpint(run_server(serve_refused, region, NULL, NULL, &unset), ==, 0);
        g_assert_cmpstr(unset, ==, no);
        g_assert_cmpint(run_server(serve_unshared, region, "yes", NULL, &yes), ==, 0);
        assert_sentence(yes, part, "; continuing with memory of its own because of MSHARE_FALLBACK=yes");
}

static void test_failures(void) {
        assert_failure("unready", "Region \"unready\" is being made", EAGAIN);
        assert_failure("no-such", "There is no region \"no-such\"", ENOENT);
        assert_failure("denied", "does not admit you", EACCES);
        assert_failure("unsupported", "This kernel has no mshare", ENOSYS);
        assert_failure("a/b", "slash", EINVAL);

        make_region("tiny", BIG - 4096, NULL, NULL);
        assert_failure("tiny", "it has 67104768 bytes, and the server needs 67108864", ENOMEM);
        assert_clients("tiny", 0);
        drop_region("tiny");

        make_region("file", BIG, "backing", "file");
        assert_failure("file", "backed by a file", EOPNOTSUPP);
        drop_region("file");

        make_region("k", BIG, NULL, NULL);
        g_setenv("FAKE_MMAP_ERRNO", "12", true);
        assert_failure("k", "address space (RLIMIT_AS; the window has ", ENOMEM);
        g_setenv("FAKE_MMAP_ERRNO", "19", true);
        g_setenv("FAKE_MSHARE_ERRNO", "38", true);
        assert_failure("k", "CONFIG_MSHARE", ENOSYS);
        g_unsetenv("FAKE_MMAP_ERRNO");
        g_unsetenv("FAKE_MSHARE_ERRNO");
        assert_clients("k", 0);
        drop_region("k");
}

static void test_bad_settings(void) {
        static const char *const sizes[] = {
                "0", "-1", "64X", "64MB", "M", " 5", "99999999999999999999", "18446744073709551615T"
        };
        g_autofree char *text = NULL;
        size_t i;

        make_region("r", BIG, NULL, NULL);
        wanted_errno = EINVAL;
        for (i = 0; i < G_N_ELEMENTS(sizes); i++) {
                g_autofree char *t = NULL;

                g_assert_cmpint(run_server(serve_refused, "r", NULL, sizes[i], &t), ==, 0);
                assert_sentence(t, sizes[i], "MSHARE_FALLBACK is not yes");
        }
        g_assert_cmpint(run_server(serve_refused, "r", "maybe", NULL, &text), ==, 0);
        assert_sentence(text, "Invalid MSHARE_FALLBACK 'maybe': expected yes or no", "MSHARE_FALLBACK is not yes");
        drop_region("r");
}

static void test_two_servers(void) {
        g_autofree char *text = NULL;
        pid_t pid;
        int go;

        make_region("r", BIG, NULL, NULL);
        pid = start_first(&go, false);
        wanted_errno = EBUSY;
        g_assert_cmpint(run_server(serve_refused, "r", NULL, NULL, &text), ==, 0);
        assert_sentence(text, "another server", "MSHARE_FALLBACK is not yes");
        (void) close(go);
        g_assert_cmpint(wait_child(pid), ==, 0);
        expect(serve_small, "r", "1M", 1);

        /* The postmaster is dead, a backend still runs. */
        pid = start_first(&go, true);
        g_assert_cmpint(wait_child(pid), ==, 0);
        g_clear_pointer(&text, g_free);
        g_assert_cmpint(run_server(serve_refused, "r", NULL, NULL, &text), ==, 0);
        assert_sentence(text, "left behind", "MSHARE_FALLBACK is not yes");
        (void) close(go);
        expect(serve_small, "r", "1M", 1);
        drop_region("r");
}

static int open_file(const char *region, int flags) {
        g_autofree char *path = g_build_filename(g_getenv("FAKE_MSHARE"), region, NULL);
        int fd = open(path, flags | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        return fd;
}

static void test_locks(void) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        g_autofree char *text = NULL;
        int fd;

        make_region("r", BIG, NULL, NULL);

        /* A process that may only read the region can take only these locks. */
        fd = open_file("r", O_RDONLY);
        g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &lock), ==, -1);
        g_assert_cmpint(errno, ==, EBADF);
        g_assert_cmpint(flock(fd, LOCK_EX | LOCK_NB), ==, 0);
        expect(serve_small, "r", "1M", 1);
        lock.l_type = F_RDLCK;
        g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &lock), ==, 0);
        expect(serve_small, "r", "1M", 1);
        (void) close(fd);

        /* A server that has the lock and is about to attach. */
        fd = open_file("r", O_RDWR);
        lock.l_type = F_WRLCK;
        g_assert_cmpint(fcntl(fd, F_OFD_SETLK, &lock), ==, 0);
        wanted_errno = EBUSY;
        g_assert_cmpint(run_server(serve_refused, "r", NULL, NULL, &text), ==, 0);
        assert_sentence(text, "another server, or a process that it left behind, uses it",
                        "MSHARE_FALLBACK is not yes");
        (void) close(fd);
        drop_region("r");
}

/* Maps the first page of the region there, as a read-only sharer would, until *ret_go is closed. */
static pid_t start_reader(const char *region, int *ret_go) {
        g_autofree char *path = g_strdup_printf("%s/%s.mem", g_getenv("FAKE_MSHARE_MEM"), region);
        int go[2], ready[2];
        pid_t pid;
        char c;

        g_assert_cmpint(pipe2(go, O_CLOEXEC), ==, 0);
        g_assert_cmpint(pipe2(ready, O_CLOEXEC), ==, 0);
        pid = fork();
        if (pid == 0) {
                int fd = open(path, O_RDONLY | O_CLOEXEC);
                /* Not mmap(), which here attaches a whole region. */
                char *p = (char *) syscall(SYS_mmap, 0L, 4096L, (long) PROT_READ, (long) MAP_SHARED, (long) fd, 0L);

                CHECK(p != MAP_FAILED && p[0] == 7 && close(fd) == 0);
                (void) close(go[1]);
                CHECK(write(ready[1], "x", 1) == 1);
                (void) !read(go[0], &c, 1);
                /* The server that started meanwhile has cleared the memory. */
                _exit(p[0] == 0 ? 0 : 1);
        }
        (void) close(go[0]);
        (void) close(ready[1]);
        g_assert_cmpint(read(ready[0], &c, 1), ==, 1);
        (void) close(ready[0]);
        *ret_go = go[1];
        return pid;
}

static void serve_seven(void) {
        char *p = map_shared(BIG, 0);

        CHECK(in_region(p) && is_zero(p, BIG));
        p[0] = 7;
}

static void serve_zero(void) {
        char *p = map_shared(BIG, 0);

        CHECK(in_region(p) && is_zero(p, BIG));
}

static void set_region_mode(const char *region, mode_t mode) {
        g_autofree char *path = g_build_filename(g_getenv("FAKE_MSHARE"), region, NULL);

        g_assert_cmpint(chmod(path, mode), ==, 0);
}

static void test_readers(void) {
        static const mode_t modes[] = { 0640, 0604, 0644 };
        g_autofree char *text = NULL;
        pid_t pid;
        size_t i;
        int go;

        for (i = 0; i < G_N_ELEMENTS(modes); i++) {
                make_region("r", BIG, NULL, NULL);
                set_region_mode("r", modes[i]);
                expect(serve_seven, "r", NULL, 1);
                pid = start_reader("r", &go);
                expect(serve_zero, "r", NULL, 1);
                (void) close(go);
                g_assert_cmpint(wait_child(pid), ==, 0);
                drop_region("r");
        }

        /* A process that attached before the owner revoked its right; and a kernel that does not count writers. */
        make_region("r", BIG, NULL, NULL);
        expect(serve_seven, "r", NULL, 1);
        pid = start_reader("r", &go);
        wanted_errno = EBUSY;
        g_assert_cmpint(run_server(serve_refused, "r", NULL, NULL, &text), ==, 0);
        assert_sentence(text, "number of processes that share it: 1", "MSHARE_FALLBACK is not yes");
        g_clear_pointer(&text, g_free);
        set_region_mode("r", 0640);
        g_setenv("FAKE_MSHARE_NO_WRITERS", "1", true);
        g_assert_cmpint(run_server(serve_refused, "r", NULL, NULL, &text), ==, 0);
        g_unsetenv("FAKE_MSHARE_NO_WRITERS");
        assert_sentence(text, "number of processes that share it: 1", "MSHARE_FALLBACK is not yes");
        expect(serve_zero, "r", NULL, 1);
        (void) close(go);
        g_assert_cmpint(wait_child(pid), ==, 0);
        drop_region("r");
}

static void test_exec_drops(void) {
        int in[2];
        pid_t pid;
        char c;

        make_region("r", BIG, NULL, NULL);
        g_assert_cmpint(pipe2(in, O_CLOEXEC), ==, 0);
        pid = fork();
        if (pid == 0) {
                (void) dup2(in[0], 0);
                (void) close(in[1]);
                g_setenv("MSHARE_REGION", "r", true);
                CHECK(in_region(map_shared(BIG, 0)));
                (void) !read(0, &c, 1);
                (void) execlp("cat", "cat", NULL);
                _exit(1);
        }
        (void) close(in[0]);
        assert_clients("r", 1);
        g_assert_cmpint(write(in[1], "", 1), ==, 1);
        assert_clients("r", 0);
        g_assert_cmpint(kill(pid, 0), ==, 0);
        (void) close(in[1]);
        g_assert_cmpint(wait_child(pid), ==, 0);
        drop_region("r");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/preload/with an empty name it does nothing", test_inert);
        g_test_add_func("/preload/the shared memory is in the region and zero", test_in_the_region);
        g_test_add_func("/preload/an empty region is filled", test_empty_region);
        g_test_add_func("/preload/nothing else changes", test_nothing_else);
        g_test_add_func("/preload/the threshold is the administrator's", test_threshold);
        g_test_add_func("/preload/trying for huge pages works", test_huge_pages);
        g_test_add_func("/preload/re-creation after a crash, without the broker", test_recreation);
        g_test_add_func("/preload/a child that unmaps leaves alone", test_child_leaves);
        g_test_add_func("/preload/a part is not given back", test_parts);
        g_test_add_func("/preload/failures are reported once and fall back or refuse", test_failures);
        g_test_add_func("/preload/bad settings are reported", test_bad_settings);
        g_test_add_func("/preload/two servers never share a region", test_two_servers);
        g_test_add_func("/preload/a reader's locks keep no server out", test_locks);
        g_test_add_func("/preload/nor does a reader that has attached", test_readers);
        g_test_add_func("/preload/exec drops the lease", test_exec_drops);
        return g_test_run();
}
