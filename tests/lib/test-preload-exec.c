/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libmshare-preload.so promises about programs that a server executes, and about commands that only check. Runs with
 * the library preloaded. The program also runs itself as a server: see begin_as_server().
 */
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/shm.h>

#include "macro.h"
#include "preload-helpers.h"
#include "preload-look.h"

/* For a build with sanitizers, where the library is loaded before their runtime. */
#define ASAN_ORDER "ASAN_OPTIONS=verify_asan_link_order=0"

static int spawn(const char *path, char *const argv[], char **env) {
        pid_t pid;

        CHECK(posix_spawn(&pid, path, NULL, NULL, argv, env) == 0);
        return wait_child(pid);
}

static void serve_environment(void) {
        char *argv[] = { self, (char *) "environment", NULL };
        char *shell[] = { (char *) "sh", (char *) "-c",
                          (char *) "[ -z \"$MSHARE_REGION$LD_PRELOAD\" ] && [ -n \"$MSHARE_TAKEN\" ]", NULL };
        /* Copied before, as an interpreter does. */
        g_auto(GStrv) earlier = g_get_environ();
        char *p = map_shared(BIG, 0);
        pid_t pid;

        CHECK(in_region(p));
        memset(p, 7, BIG);
        CHECK(!g_getenv("MSHARE_REGION") && g_getenv("MSHARE_TAKEN"));
        CHECK(!g_getenv("LD_PRELOAD") || !strstr(g_getenv("LD_PRELOAD"), "libmshare-preload"));
        /* Programs that it starts, in whatever way, under its own name or another. */
        CHECK(spawn(self, argv, environ) == 0);
        pid = fork();
        if (pid == 0)
                (void) execv("/bin/sh", shell);
        CHECK(wait_child(pid) == 0);
        CHECK(g_environ_getenv(earlier, "MSHARE_REGION"));
        pid = fork();
        if (pid == 0)
                (void) execve("/bin/sh", shell, earlier);
        CHECK(wait_child(pid) == 0);
        /* A child executes the server's program, as nginx does: it gets no region, at once, and reports that; so does the next. */
        pid = fork();
        if (pid == 0)
                (void) execl(self, self, "map-again", NULL);
        CHECK(wait_child(pid) == 3);
        CHECK(p[0] == 7);
        /* The server executes itself, as uWSGI does: it gets the region, cleared. */
        argv[1] = (char *) "map-zero";
        (void) execv(self, argv);
        CHECK(false);
}

static void test_environment(void) {
        static const char line[] =
                "from which this one inherited its environment, requested the region first; stop and start the server";
        g_autofree char *text = NULL;
        const char *p;

        make_region("r", BIG, NULL, NULL);
        g_assert_cmpint(run_server(serve_environment, "r", NULL, NULL, &text), ==, 2);
        p = strstr(text, line);
        g_assert_nonnull(p);
        g_assert_nonnull(strstr(p + 1, line));
        drop_region("r");
}

/* Programs that the server starts in any way, also with its earlier environment, have neither the region nor the library. */
static void check_children(char **earlier) {
        char *shell[] = { (char *) "sh", (char *) "-c", (char *) "[ -z \"$MSHARE_REGION$LD_PRELOAD\" ]", NULL };
        char **environments[] = { environ, earlier };
        pid_t pid;
        size_t i;

        CHECK(g_environ_getenv(earlier, "MSHARE_REGION"));
        CHECK(system(shell[2]) == 0);
        for (i = 0; i < G_N_ELEMENTS(environments); i++) {
                CHECK(spawn("/bin/sh", shell, environments[i]) == 0);
                CHECK(posix_spawnp(&pid, "sh", NULL, NULL, shell, environments[i]) == 0);
                CHECK(wait_child(pid) == 0);
                pid = fork();
                if (pid == 0)
                        (void) execve("/bin/sh", shell, environments[i]);
                CHECK(wait_child(pid) == 0);
                pid = fork();
                if (pid == 0)
                        (void) execveat(-1, "/bin/sh", shell, environments[i], 0);
                CHECK(wait_child(pid) == 0);
                pid = vfork();
                if (pid == 0) {
                        (void) execvpe("sh", shell, environments[i]);
                        _exit(127);
                }
                CHECK(wait_child(pid) == 0);
        }
}

static void serve_children(void) {
        g_auto(GStrv) earlier = g_get_environ();

        CHECK(in_region(map_shared(BIG, 0)));
        check_children(earlier);
}

/* What the server maps is not for a region, or too small. */
static void serve_unplaced(int flags, size_t size, bool refused) {
        g_auto(GStrv) earlier = g_get_environ();
        char *argv[] = { self, (char *) "map-zero", NULL }, *empty[] = { (char *) ASAN_ORDER, NULL };
        char *p = map_shared(size, flags), text[1024];
        int pipes[2];
        pid_t pid;
        ssize_t n;

        CHECK((p == MAP_FAILED) == refused && (refused || !in_region(p)));
        check_children(earlier);
        /* If it executes itself in a child, as nginx does for an upgrade, that may use the region: nothing else does. */
        pid = fork();
        if (pid == 0)
                (void) execv(self, argv);
        CHECK(wait_child(pid) == 2);
        /* But not with an environment of its own, as nginx has it. It says so. */
        CHECK(pipe(pipes) == 0);
        pid = fork();
        if (pid == 0) {
                CHECK(dup2(pipes[1], STDERR_FILENO) >= 0);
                (void) execve(self, argv, empty);
        }
        CHECK(close(pipes[1]) == 0 && wait_child(pid) == 3);
        n = read(pipes[0], text, sizeof(text) - 1);
        CHECK(n > 0);
        text[n] = '\0';
        CHECK(strstr(text, "requested the region first; stop and start the server"));
        /* And if it executes itself. */
        (void) execv(self, argv);
        CHECK(false);
}

static void serve_unfit(void) {
        serve_unplaced(MAP_32BIT, BIG, false);
}

static void serve_small(void) {
        serve_unplaced(0, MIB, false);
}

static void serve_small_segment(void) {
        g_auto(GStrv) earlier = g_get_environ();
        int id = shmget(IPC_PRIVATE, 2 * MIB, IPC_CREAT | 0600);

        CHECK(id >= 0 && shmctl(id, IPC_RMID, NULL) == 0);
        check_children(earlier);
}

static void serve_huge(void) {
        serve_unplaced(MAP_HUGETLB, BIG, true);
}

static void serve_refused(void) {
        serve_unplaced(0, 2 * BIG, true);
}

/* It maps something small, goes into the background, maps the rest and executes itself. */
static void serve_in_background(void) {
        char *argv[] = { self, (char *) "map-zero", NULL };
        g_autofree char *mark = NULL;
        pid_t pid;

        CHECK(!in_region(map_shared(2 * MIB, 0)));
        pid = fork();
        if (pid == 0) {
                CHECK(in_region(map_shared(BIG, 0)));
                mark = g_strdup_printf("%d:", (int) getpid());
                CHECK(g_str_has_prefix(g_getenv("MSHARE_TAKEN"), mark));
                (void) execv(self, argv);
                CHECK(false);
        }
        CHECK(wait_child(pid) == 2);
}

/* A program that only starts the server, with or without a shell in between. */
static void serve_wrapper(void) {
        g_autofree char *text = g_strdup_printf("exec '%s' map-zero", self);
        char *argv[] = { self, (char *) "map-zero", NULL };
        char *shell[] = { (char *) "sh", (char *) "-c", text, NULL };
        pid_t pid;

        CHECK(map_shared(MIB / 2, 0) != MAP_FAILED);
        CHECK(spawn(self, argv, environ) == 2);
        CHECK(spawn("/bin/sh", shell, environ) == 2);
        pid = fork();
        if (pid == 0)
                (void) execv("/bin/sh", shell);
        CHECK(wait_child(pid) == 2);
}

static void test_unplaced(void) {
        static const struct {
                void (*server)(void);
                int status;
        } servers[] = {
                { serve_children, 0 }, { serve_unfit, 2 },         { serve_small, 2 },   { serve_huge, 2 },
                { serve_refused, 2 },  { serve_in_background, 0 }, { serve_wrapper, 0 }, { serve_small_segment, 0 },
        };

        make_region("r", BIG, NULL, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(servers); i++) {
                g_test_message("server %zu", i);
                g_assert_cmpint(run_server(servers[i].server, "r", "no", NULL, NULL), ==, servers[i].status);
        }
        drop_region("r");
}

static void serve_exec_ways(void) {
        static const char *const ways[] = { "execl", "execlp", "execle", "execve", "execvp", "execvpe", "fexecve" };
        char *argv[] = { self, (char *) "map-zero", NULL }, *empty[] = { (char *) ASAN_ORDER, NULL };
        pid_t pid;
        size_t i;

        for (i = 0; i < G_N_ELEMENTS(ways); i++) {
                pid = fork();
                if (pid == 0) {
                        CHECK(in_region(map_shared(BIG, 0)));
                        switch (i) {
                        case 0:
                                (void) execl(self, self, "map-zero", NULL);
                                break;
                        case 1:
                                (void) execlp(self, self, "map-zero", NULL);
                                break;
                        case 2:
                                (void) execle(self, self, "map-zero", NULL, environ);
                                break;
                        case 3:
                                (void) execve(self, argv, environ);
                                break;
                        case 4:
                                (void) execvp(self, argv);
                                break;
                        case 5:
                                (void) execvpe(self, argv, environ);
                                break;
                        case 6:
                                (void) fexecve(open(self, O_RDONLY | O_CLOEXEC), argv, environ);
                                break;
                        }
                        CHECK(false);
                }
                CHECK(wait_child(pid) == 2);
        }
        /* Also with an environment that it made itself. */
        pid = fork();
        if (pid == 0) {
                CHECK(in_region(map_shared(BIG, 0)));
                (void) execve("/bin/true", argv, empty);
        }
        CHECK(wait_child(pid) == 0);
}

/* With a second preloaded library, and with environments that lack it or have another. */
static void serve_exec_libraries(void) {
        static const char *const environments[] = { NULL, "LD_PRELOAD=", "LD_PRELOAD=libm.so.6",
                                                    "LD_PRELOAD=libdl.so.2 libc.so.6" };
        char *argv[] = { self, (char *) "map-zero", NULL }, *envp[5] = { NULL, (char *) ASAN_ORDER };
        g_autofree char *both = g_strdup_printf("libm.so.6:%s", g_getenv("TEST_PRELOAD"));
        g_autofree char *bus = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", g_getenv("DBUS_SYSTEM_BUS_ADDRESS"));
        /* A sanitizer's dlopen() does not use the library's own path. */
        const char *path = g_getenv("LD_LIBRARY_PATH");
        g_autofree char *libraries = path ? g_strdup_printf("LD_LIBRARY_PATH=%s", path) : g_strdup("LC_ALL=C");
        pid_t pid;
        size_t i;

        g_setenv("LD_PRELOAD", both, true);
        for (i = 0; i < G_N_ELEMENTS(environments); i++) {
                pid = fork();
                if (pid == 0) {
                        CHECK(in_region(map_shared(BIG, 0)));
                        CHECK(streq(g_getenv("LD_PRELOAD"), "libm.so.6"));
                        envp[0] = bus;
                        envp[2] = libraries;
                        envp[3] = (char *) environments[i];
                        (void) execve(self, argv, envp);
                        CHECK(false);
                }
                /* Without FAKE_MSHARE it comes as far as attaching. */
                CHECK(wait_child(pid) == 1);
        }
}

static void test_exec_ways(void) {
        g_autofree char *text = NULL;
        unsigned int n = 0;
        const char *p;

        make_region("r", BIG, NULL, NULL);
        expect(serve_exec_ways, "r", NULL, 15);
        g_assert_cmpint(run_server(serve_exec_libraries, "r", NULL, NULL, &text), ==, 0);
        for (p = text; (p = strstr(p, "does not show how many processes share it")); p++)
                n++;
        g_assert_cmpuint(n, ==, 4);
        drop_region("r");
}

static void serve_looking(void) {
        pid_t pid = fork();

        if (pid == 0)
                (void) execl(self, "nginx", "-t", NULL);
        CHECK(wait_child(pid) == 3);
}

static void test_looking(void) {
        static const char *const yes[] = { "nginx -t",
                                           "/usr/sbin/nginx -q -t -g x",
                                           "nginx -qt",
                                           "nginx -c x -T",
                                           "php-fpm8.2 -y x -t",
                                           "apache2 -f x -t",
                                           "postgres -D x -C shared_memory_size",
                                           "postgres --describe-config" };
        static const char *const no[] = {
                "nginx",    "nginx -c t",     "nginx -g -t",         "nginx -ct",  "php-fpm8.2 -F",
                "uwsgi -t", "postgres -D -C", "postgres -D /t -p 1", "python3 -t", "apache2 -f t -k start"
        };
        g_autofree char *text = NULL;
        pid_t pid;
        size_t i;
        int go;

        for (i = 0; i < G_N_ELEMENTS(yes) + G_N_ELEMENTS(no); i++) {
                const char *line = i < G_N_ELEMENTS(yes) ? yes[i] : no[i - G_N_ELEMENTS(yes)];
                g_autofree char *arguments = g_strdelimit(g_strdup(line), " ", '\n');
                size_t n = strlen(line), k;

                for (k = 0; k < n; k++)
                        if (arguments[k] == '\n')
                                arguments[k] = '\0';
                g_test_message("%s", line);
                g_assert_true(preload_command_looks(arguments, n + 1) == (i < G_N_ELEMENTS(yes)));
        }

        make_region("r", BIG, NULL, NULL);
        pid = start_first(&go, false);
        g_assert_cmpint(run_server(serve_looking, "r", "no", NULL, &text), ==, 0);
        assert_sentence(text, "67108864 bytes of shared memory are not in region 'r'", "this command only checks");
        (void) close(go);
        g_assert_cmpint(wait_child(pid), ==, 0);
        drop_region("r");
}

int main(int argc, char *argv[]) {
        int r = begin_as_server(argc, argv);

        if (r >= 0)
                return r;
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/exec/what a server executes", test_environment);
        g_test_add_func("/exec/what a server executes that has nothing in the region", test_unplaced);
        g_test_add_func("/exec/every way to execute", test_exec_ways);
        g_test_add_func("/exec/a command that only checks", test_looking);
        return g_test_run();
}
