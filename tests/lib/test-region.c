/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libmshare promises for mshare_region_acquire() and its related functions, with the fake broker and kernel. */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "bus-helpers.h"
#include "mshare.h"
#include "util.h"

#define MIB ((size_t) 1 << 20)

static mshare_region *acquire(const char *name, int oflag) {
        _cleanup_(freep) char *message = NULL;
        mshare_region *region = NULL;

        if (mshare_region_acquire(name, oflag, NULL, &region, &message) < 0)
                g_error("%s", message);
        g_assert_null(message);
        return region;
}

/*
 * A failure does not change the handle, keeps errno and explains the reason, with every expected part of the sentence.
 */
static void assert_fails(const char *name, int oflag, const struct mshare_acquire_options *options, int wanted,
                         const char *part1, const char *part2) {
        _cleanup_(freep) char *message = NULL;
        mshare_region *region = (mshare_region *) 0x1;
        unsigned int fds = count_fds();

        errno = ELIBSCN;
        g_assert_cmpint(mshare_region_acquire(name, oflag, options, &region, &message), ==, -wanted);
        g_assert_cmpint(errno, ==, ELIBSCN);
        g_assert_true(region == (mshare_region *) 0x1);
        g_assert_nonnull(message);
        if (g_utf8_validate(message, -1, NULL))
                g_test_message("%s", message);
        g_assert_nonnull(strstr(message, part1));
        g_assert_nonnull(strstr(message, part2));
        g_assert_cmpuint(count_fds(), ==, fds);
        /* The sentence is optional. */
        g_assert_cmpint(mshare_region_acquire(name, oflag, options, &region, NULL), ==, -wanted);
}

static void test_bad_names(void) {
        char longest[257];

        memset(longest, 'x', sizeof(longest));
        longest[256] = '\0';
        assert_fails(longest, O_RDWR, NULL, EINVAL, "1 to 255", "more");
        assert_fails("", O_RDWR, NULL, EINVAL, "1 to 255", "none");
        assert_fails("a/b", O_RDWR, NULL, EINVAL, "'a/b'", "slash");
        assert_fails(".", O_RDWR, NULL, EINVAL, "'.'", "slash");
        assert_fails("..", O_RDWR, NULL, EINVAL, "'..'", "slash");
        assert_fails(NULL, O_RDWR, NULL, EINVAL, "no name", "no name");
        assert_fails("\xff\xfe", O_RDWR, NULL, EINVAL, "UTF-8", "valid");
        longest[255] = '\0';
        assert_fails(longest, O_RDWR, NULL, ENOENT, "no region", "xxx");
}

static void test_bad_access(void) {
        assert_fails("x", O_WRONLY, NULL, EINVAL, "0x1", "O_RDONLY nor O_RDWR");
        assert_fails("x", O_RDWR | O_CREAT, NULL, EINVAL, "0x42", "O_RDONLY nor O_RDWR");
}

static void test_bad_options(void) {
        struct {
                struct mshare_acquire_options o;
                char more[8];
        } newer = { .o.size = sizeof(newer) };
        struct mshare_acquire_options o = { .size = sizeof(o) };

        o.size = 0;
        assert_fails("x", O_RDWR, &o, EINVAL, "size is 0", "sizeof");
        o.size = 1 << 20;
        assert_fails("x", O_RDWR, &o, EINVAL, "size is 1048576", "sizeof");
        o.size = sizeof(o);
        o.flags = 0x80;
        assert_fails("x", O_RDWR, &o, EINVAL, "0x80", "unknown");
        o.flags = 0;
        o.reserved = 1;
        assert_fails("x", O_RDWR, &o, EINVAL, "0x1", "unknown");
        assert_fails("no-such", O_RDWR, &newer.o, ENOENT, "no-such", "no region");
        newer.more[0] = 1;
        assert_fails("x", O_RDWR, &newer.o, E2BIG, "byte 24", "newer");
        /* An options struct of a version before a field was added. */
        newer.o.size = offsetof(struct mshare_acquire_options, reserved);
        newer.o.reserved = 1;
        assert_fails("no-such", O_RDWR, &newer.o, ENOENT, "no-such", "no region");
}

static void test_no_place(void) {
        _cleanup_(freep) char *message = NULL;

        g_assert_cmpint(mshare_region_acquire("x", O_RDWR, NULL, NULL, &message), ==, -EINVAL);
        g_assert_nonnull(strstr(message, "handle"));
        g_assert_cmpint(mshare_region_release(NULL), ==, 0);
        g_assert_cmpint(mshare_region_detach(NULL), ==, -EINVAL);
        g_assert_cmpint(mshare_region_attach(NULL, NULL), ==, -EINVAL);
}

static void test_broker_refuses(void) {
        struct mshare_acquire_options o = { .size = sizeof(o), .timeout_usec = 200000 };

        assert_fails("no-such", O_RDWR, NULL, ENOENT, "'no-such'", "There is no region");
        assert_fails("denied", O_RDWR, NULL, EACCES, "'denied'", "does not admit you");
        assert_fails("unready", O_RDWR, NULL, EAGAIN, "'unready'", "being made");
        assert_fails("unsupported", O_RDWR, NULL, ENOSYS, "'unsupported'", "no mshare");
        assert_fails("limited", O_RDWR, NULL, EDQUOT, "'limited'", "LeasesPerUser=7");
        assert_fails("garbled", O_RDWR, NULL, EBADMSG, "'garbled'", "answer is invalid");
        assert_fails("silent", O_RDWR, &o, ETIMEDOUT, "'silent'", "in time");
        assert_fails("askpass", O_RDWR, NULL, EACCES, "'askpass'", "password");
        o.flags = MSHARE_ACQUIRE_INTERACTIVE;
        assert_fails("askpass", O_RDWR, &o, ENOENT, "'askpass'", "There is no region");
}

static void test_no_broker(void) {
        g_autofree char *bus = g_strdup(g_getenv("DBUS_SYSTEM_BUS_ADDRESS"));

        g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", true);
        assert_fails("x", O_RDWR, NULL, ENOENT, "system bus", "No such file");
        g_setenv("DBUS_SYSTEM_BUS_ADDRESS", bus, true);
}

static void test_liars(void) {
        make_region("liar", MIB, NULL, NULL);
        make_region("nowhere", MIB, NULL, NULL);
        assert_fails("liar", O_RDWR, NULL, ESTALE, "the broker reported", "the kernel reports");
        assert_clients("liar", 0);
        assert_fails("nowhere", O_RDWR, NULL, EBADMSG, "impossible window", "0x0");
        drop_region("liar");
        drop_region("nowhere");

        make_region("named-liar", MIB, NULL, NULL);
        assert_fails("named-liar", O_RDWR, NULL, ESTALE, "the broker reported", "the kernel reports");
        assert_clients("named-liar", 0);
        drop_region("named-liar");
}

typedef struct Refusal {
        const char *number, *part;
        int error;
} Refusal;

static void assert_refusals(const char *variable, const Refusal *cases, size_t n) {
        size_t i;

        make_region("k", MIB, NULL, NULL);
        for (i = 0; i < n; i++) {
                g_setenv(variable, cases[i].number, true);
                assert_fails("k", O_RDWR, NULL, cases[i].error, "'k'", cases[i].part);
        }
        g_unsetenv(variable);
        /* A failure releases its lease. */
        assert_clients("k", 0);
        drop_region("k");
}

static void test_kernel_refuses(void) {
        static const Refusal by_descriptor[] = {
                { "17", "already has something mapped", EEXIST },
                { "2", "was removed", ENOENT },
                { "13", "by the descriptor", EACCES },
                { "12", "windows (a process has at most 64)", ENOMEM },
        };
        static const Refusal by_name[] = {
                { "38", "CONFIG_MSHARE", ENOSYS },
                { "19", "not mounted", ENODEV },
                { "17", "already has something mapped", EEXIST },
                { "2", "was removed", ENOENT },
                { "1", "filter", EPERM },
                { "30", "ReadWritePaths=/sys/fs/mshare", EROFS },
                { "13", "read and write", EACCES },
                { "12", "windows (a process has at most 64)", ENOMEM },
        };

        assert_refusals("FAKE_MMAP_ERRNO", by_descriptor, G_N_ELEMENTS(by_descriptor));
        g_setenv("FAKE_MMAP_ERRNO", "19", true);
        assert_refusals("FAKE_MSHARE_ERRNO", by_name, G_N_ELEMENTS(by_name));
        g_unsetenv("FAKE_MMAP_ERRNO");
}

/* Write, detach, attach again and read. */
static void use(const char *name, bool has_file) {
        mshare_region *region = acquire(name, O_RDWR);
        char *p = mshare_region_address(region);

        g_assert_cmpint(mshare_region_fd(region) >= 0, ==, has_file);
        p[9] = 'w';
        g_assert_cmpint(mshare_region_detach(region), ==, 0);
        g_assert_cmpint(mshare_region_attach(region, NULL), ==, 0);
        g_assert_cmpint(p[9], ==, 'w');
        assert_clients(name, 1);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        assert_clients(name, 0);
}

/* mmap() of the file is sufficient: mshare() may be refused. */
static void test_by_descriptor(void) {
        make_region("opened", MIB, NULL, NULL);
        g_setenv("FAKE_MSHARE_ERRNO", "38", true);
        use("opened", true);
        g_unsetenv("FAKE_MSHARE_ERRNO");
        drop_region("opened");
}

static void test_old_broker(void) {
        make_region("named", MIB, NULL, NULL);
        g_setenv("FAKE_MMAP_ERRNO", "1", true);
        use("named", false);
        assert_fails("named-but-not-made", O_RDWR, NULL, ENOENT, "'named-but-not-made'", "There is no region");
        g_unsetenv("FAKE_MMAP_ERRNO");
        drop_region("named");
}

static void test_old_kernel(void) {
        make_region("old-kernel", MIB, NULL, NULL);
        g_setenv("FAKE_MMAP_ERRNO", "19", true);
        use("old-kernel", true);
        g_unsetenv("FAKE_MMAP_ERRNO");
        drop_region("old-kernel");
}

/* Only the file, as if received over a socket, without the library. */
static void test_handed_on(void) {
        mshare_region *region;
        size_t length;
        pid_t pid;

        make_region("handed", MIB, NULL, NULL);
        region = acquire("handed", O_RDWR);
        ((char *) mshare_region_address(region))[3] = 'h';
        pid = fork();
        if (pid == 0) {
                struct mshare_info info;
                int fd = mshare_region_fd(region);
                char *p;

                length = mshare_region_length(region);
                if (munmap(mshare_region_address(region), length) < 0 || read(fd, &info, sizeof(info)) != sizeof(info))
                        _exit(1);
                p = mmap((void *) (uintptr_t) info.start, info.size, PROT_READ, MAP_SHARED, fd, 0);
                _exit(p != MAP_FAILED && p[3] == 'h' ? 0 : 2);
        }
        g_assert_cmpint(wait_child(pid), ==, 0);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        drop_region("handed");
}

/* Servers close all descriptors that they do not know, and then open files under the same numbers. */
static void test_closed_by_the_program(void) {
        mshare_region *region;
        int file, lease, own[2];

        make_region("closed", MIB, NULL, NULL);
        region = acquire("closed", O_RDWR);
        file = mshare_region_fd(region);
        lease = mshare_region_lease_fd(region);
        own[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
        own[1] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        g_assert_cmpint(dup3(own[0], file, O_CLOEXEC), ==, file);
        g_assert_cmpint(dup3(own[1], lease, O_CLOEXEC), ==, lease);
        assert_clients("closed", 0);

        g_assert_cmpint(mshare_region_fd(region), ==, -1);
        g_assert_cmpint(mshare_region_detach(region), ==, 0);
        g_assert_cmpint(mshare_region_attach(region, NULL), ==, 0);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        g_assert_cmpint(fcntl(file, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fcntl(lease, F_GETFD), ==, FD_CLOEXEC);
        (void) close(file);
        (void) close(lease);
        (void) close(own[0]);
        (void) close(own[1]);
        drop_region("closed");
}

static void test_accessors(void) {
        mshare_region *region;
        unsigned int fds = count_fds();
        int fd;

        make_region("acc", 3 * MIB, "backing", "memfd");
        region = acquire("acc", O_RDWR);
        g_assert_cmpstr(mshare_region_name(region), ==, "acc");
        g_assert_cmpstr(mshare_region_backing(region), ==, "memfd");
        g_assert_cmpuint(mshare_region_size(region), ==, 3 * MIB);
        g_assert_cmpuint(mshare_region_length(region), >=, 1024 * MIB);
        g_assert_cmpuint(mshare_region_length(region) % (1024 * MIB), ==, 0);
        g_assert_cmpuint((uintptr_t) mshare_region_address(region) % mshare_region_length(region), ==, 0);
        fd = mshare_region_lease_fd(region);
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(fcntl(mshare_region_fd(region), F_GETFD), ==, FD_CLOEXEC);
        /* Only the lease and the region's file stay open: no connection to the bus. */
        g_assert_cmpuint(count_fds(), ==, fds + 2);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        g_assert_cmpuint(count_fds(), ==, fds);
        drop_region("acc");
}

static void test_second_window(void) {
        mshare_region *region;

        make_region("twice", MIB, NULL, NULL);
        region = acquire("twice", O_RDWR);
        assert_clients("twice", 1);
        assert_fails("twice", O_RDWR, NULL, EEXIST, "already has something mapped", "bytes at 0x");
        assert_clients("twice", 1);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        drop_region("twice");
}

/* Both processes acquire for themselves; neither is the other's parent. */
static int child_writes(const char *name, char value) {
        mshare_region *region = NULL;
        volatile char *p;

        if (mshare_region_acquire(name, O_RDWR, NULL, &region, NULL) < 0)
                return 1;
        p = mshare_region_address(region);
        if (value == 'b' && p[0] != 'a')
                return 2;
        p[value - 'a'] = value;
        return mshare_region_release(region) < 0 ? 3 : 0;
}

static void test_writes_are_seen(void) {
        mshare_region *region;
        const char *p;
        pid_t pid;
        char c;

        make_region("seen", MIB, NULL, NULL);
        for (c = 'a'; c <= 'b'; c++) {
                pid = fork();
                if (pid == 0)
                        _exit(child_writes("seen", c));
                g_assert_cmpint(wait_child(pid), ==, 0);
        }
        region = acquire("seen", O_RDONLY);
        p = mshare_region_address(region);
        g_assert_cmpmem(p, 3, "ab", 3);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        drop_region("seen");
}

static void test_read_only(void) {
        mshare_region *region;
        pid_t pid;
        int status;

        make_region("ro", MIB, NULL, NULL);
        region = acquire("ro", O_RDONLY);
        pid = fork();
        if (pid == 0) {
                /* The sanitizers would print a report and exit normally. */
                (void) signal(SIGSEGV, SIG_DFL);
                *(volatile char *) mshare_region_address(region) = 1;
                _exit(0);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        drop_region("ro");
}

static void test_fork_keeps_exec_drops(void) {
        mshare_region *region;
        int go[2][2], i;
        pid_t pid[2];
        char c;

        make_region("fork", MIB, NULL, NULL);
        region = acquire("fork", O_RDWR);

        for (i = 0; i < 2; i++) {
                g_assert_cmpint(pipe2(go[i], O_CLOEXEC), ==, 0);
                pid[i] = fork();
                if (pid[i] == 0) {
                        (void) close(go[i][1]);
                        if (i == 1) {
                                (void) dup2(go[i][0], 0);
                                (void) execlp("cat", "cat", NULL);
                                _exit(99);
                        }
                        ((char *) mshare_region_address(region))[0] = 'f';
                        (void) !read(go[i][0], &c, 1);
                        _exit(mshare_region_release(region) == 0 ? 0 : 1);
                }
                (void) close(go[i][0]);
        }

        /* One lease, even if children inherit it; the parent's release does not end it. */
        assert_clients("fork", 1);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        assert_clients("fork", 1);

        /* The first child exits; "cat" lives on, without the lease. */
        (void) close(go[0][1]);
        g_assert_cmpint(wait_child(pid[0]), ==, 0);
        assert_clients("fork", 0);
        g_assert_cmpint(kill(pid[1], 0), ==, 0);
        (void) close(go[1][1]);
        g_assert_cmpint(wait_child(pid[1]), ==, 0);
        drop_region("fork");
}

static void test_killed_client_is_gone(void) {
        pid_t pid;

        make_region("kill", MIB, NULL, NULL);
        pid = fork();
        if (pid == 0) {
                mshare_region *region = NULL;

                if (mshare_region_acquire("kill", O_RDWR, NULL, &region, NULL) < 0)
                        _exit(1);
                (void) pause();
        }
        assert_clients("kill", 1);
        (void) kill(pid, SIGKILL);
        g_assert_cmpint(wait_child(pid), ==, -1);
        assert_clients("kill", 0);
        drop_region("kill");
}

static void test_detach_keeps_the_lease(void) {
        const struct mshare_acquire_options o = { .size = sizeof(o), .flags = MSHARE_ACQUIRE_DETACHED };
        _cleanup_(freep) char *message = NULL;
        mshare_region *region = NULL;
        unsigned char vec;
        char *p;

        make_region("det", MIB, NULL, NULL);
        g_assert_cmpint(mshare_region_acquire("det", O_RDWR, &o, &region, NULL), ==, 0);
        p = mshare_region_address(region);
        g_assert_true(mincore(p, 4096, &vec) < 0 && errno == ENOMEM);
        g_assert_cmpint(mshare_region_detach(region), ==, -ENXIO);
        assert_clients("det", 1);

        g_assert_cmpint(mshare_region_attach(region, &message), ==, 0);
        g_assert_null(message);
        p[7] = 'd';
        g_assert_cmpint(mshare_region_attach(region, &message), ==, -EEXIST);
        g_assert_nonnull(strstr(message, "already attached"));

        g_assert_cmpint(mshare_region_detach(region), ==, 0);
        /* The whole window is gone, not only the first mapping. */
        g_assert_true(mincore(p, 4096, &vec) < 0 && errno == ENOMEM);
        g_assert_true(mincore(p + mshare_region_length(region) - 4096, 4096, &vec) < 0 && errno == ENOMEM);
        assert_clients("det", 1);

        g_assert_cmpint(mshare_region_attach(region, NULL), ==, 0);
        g_assert_cmpint(p[7], ==, 'd');
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        assert_clients("det", 0);
        drop_region("det");
}

static void test_removed_meanwhile(void) {
        const struct mshare_acquire_options o = { .size = sizeof(o), .flags = MSHARE_ACQUIRE_DETACHED };
        _cleanup_(freep) char *message = NULL;
        mshare_region *region = NULL;

        make_region("gone", MIB, NULL, NULL);
        g_assert_cmpint(mshare_region_acquire("gone", O_RDWR, &o, &region, NULL), ==, 0);
        drop_region("gone");
        g_assert_cmpint(mshare_region_attach(region, &message), ==, -ENOENT);
        g_assert_nonnull(strstr(message, "was removed"));
        g_assert_cmpint(mshare_region_release(region), ==, 0);
}

static gpointer thread_loop(gpointer data) {
        g_autofree char *name = g_strdup_printf("thread-%d", GPOINTER_TO_INT(data));
        int i;

        for (i = 0; i < 20; i++) {
                mshare_region *region = acquire(name, O_RDWR);

                ((char *) mshare_region_address(region))[i] = 1;
                g_assert_cmpint(mshare_region_release(region), ==, 0);
        }
        return NULL;
}

static void test_threads(void) {
        GThread *threads[8];
        int i;

        for (i = 0; i < 8; i++) {
                g_autofree char *name = g_strdup_printf("thread-%d", i);

                make_region(name, MIB, NULL, NULL);
                threads[i] = g_thread_new(name, thread_loop, GINT_TO_POINTER(i));
        }
        for (i = 0; i < 8; i++) {
                g_autofree char *name = g_strdup_printf("thread-%d", i);

                g_thread_join(threads[i]);
                assert_clients(name, 0);
                drop_region(name);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/region/a bad name is refused with a message", test_bad_names);
        g_test_add_func("/region/a bad access is refused with a message", test_bad_access);
        g_test_add_func("/region/options of other versions", test_bad_options);
        g_test_add_func("/region/missing arguments are refused", test_no_place);
        g_test_add_func("/region/the broker's errors become errno and sentence", test_broker_refuses);
        g_test_add_func("/region/no broker, no hang", test_no_broker);
        g_test_add_func("/region/an answer the kernel does not confirm is refused", test_liars);
        g_test_add_func("/region/the kernel's errors become errno and sentence", test_kernel_refuses);
        g_test_add_func("/region/by descriptor no new system call is needed", test_by_descriptor);
        g_test_add_func("/region/by name with a broker that hands out no file", test_old_broker);
        g_test_add_func("/region/by name with a kernel that does not map it", test_old_kernel);
        g_test_add_func("/region/the descriptor can be handed on", test_handed_on);
        g_test_add_func("/region/descriptors of the program's own are left alone", test_closed_by_the_program);
        g_test_add_func("/region/the handle tells what it holds", test_accessors);
        g_test_add_func("/region/a second window is refused", test_second_window);
        g_test_add_func("/region/unrelated processes see each other's writes", test_writes_are_seen);
        g_test_add_func("/region/a reader cannot write", test_read_only);
        g_test_add_func("/region/fork keeps the lease and exec drops it", test_fork_keeps_exec_drops);
        g_test_add_func("/region/a killed client is gone", test_killed_client_is_gone);
        g_test_add_func("/region/detaching keeps the lease", test_detach_keeps_the_lease);
        g_test_add_func("/region/attaching a removed region fails", test_removed_meanwhile);
        g_test_add_func("/region/threads", test_threads);
        return g_test_run();
}
