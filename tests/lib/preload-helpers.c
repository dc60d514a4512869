/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "macro.h"
#include "preload-helpers.h"

char *map_shared(size_t size, int more) {
        return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | more, -1, 0);
}

bool in_region(const void *p) {
        return (uintptr_t) p >= WINDOW_BASE && (uintptr_t) p < WINDOW_BASE + (UINT64_C(1) << 40);
}

bool is_zero(const char *p, size_t size) {
        return p[0] == 0 && memcmp(p, p + 1, size - 1) == 0;
}

int run_server(void (*server)(void), const char *region, const char *fallback, const char *min_size,
               char **ret_stderr) {
        char text[4096];
        size_t have = 0;
        ssize_t n;
        int fds[2];
        pid_t pid;

        g_assert_cmpint(pipe(fds), ==, 0);
        pid = fork();
        if (pid == 0) {
                (void) dup2(fds[1], 2);
                (void) close(fds[0]);
                (void) close(fds[1]);
                if (region)
                        g_setenv("MSHARE_REGION", region, true);
                if (fallback)
                        g_setenv("MSHARE_FALLBACK", fallback, true);
                if (min_size)
                        g_setenv("MSHARE_MIN_SIZE", min_size, true);
                server();
                _exit(0);
        }
        (void) close(fds[1]);
        while (have < sizeof(text) - 1 && (n = read(fds[0], text + have, sizeof(text) - 1 - have)) > 0)
                have += (size_t) n;
        text[have] = '\0';
        (void) close(fds[0]);
        if (text[0] != '\0')
                g_test_message("%s", g_strchomp(text));
        if (ret_stderr)
                *ret_stderr = g_strdup(text);
        return wait_child(pid);
}

void expect(void (*server)(void), const char *region, const char *min_size, unsigned int placed) {
        g_autofree char *text = NULL;
        char *line, *state = NULL;
        unsigned int n = 0;

        g_assert_cmpint(run_server(server, region, NULL, min_size, &text), ==, 0);
        for (line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
                g_assert_true(g_str_has_prefix(line, "libmshare-preload: Placed "));
                n++;
        }
        g_assert_cmpuint(n, ==, placed);
}

void assert_sentence(const char *text, const char *part, const char *ending) {
        g_assert_true(g_str_has_prefix(text, "libmshare-preload: "));
        g_assert_nonnull(strstr(text, part));
        g_assert_true(g_str_has_suffix(text, ending));
        g_assert_null(strchr(text, '\n'));
}

pid_t start_first(int *ret_go, bool orphan) {
        int go[2], ready[2];
        pid_t pid, child;
        char c;

        g_assert_cmpint(pipe2(go, O_CLOEXEC), ==, 0);
        g_assert_cmpint(pipe2(ready, O_CLOEXEC), ==, 0);
        pid = fork();
        if (pid == 0) {
                char *p;

                (void) close(go[1]);
                g_setenv("MSHARE_REGION", "r", true);
                p = map_shared(BIG, 0);
                CHECK(in_region(p));
                child = orphan ? fork() : 0;
                if (child == 0) {
                        p[0] = 7;
                        (void) !write(ready[1], "x", 1);
                        (void) !read(go[0], &c, 1);
                        _exit(p[0] == 7 ? 0 : 1);
                }
                _exit(0);
        }
        (void) close(go[0]);
        g_assert_cmpint(read(ready[0], &c, 1), ==, 1);
        (void) close(ready[0]);
        (void) close(ready[1]);
        *ret_go = go[1];
        return pid;
}

char self[4096];

/* As a new program of a server, replaced once more by a child with an environment of its own. */
static int upgrade_again(void) {
        /* For a build with sanitizers, where the library is loaded before their runtime. */
        char *argv[] = { self, (char *) "map", NULL },
             *own[] = { (char *) "ASAN_OPTIONS=verify_asan_link_order=0", NULL };
        pid_t pid;

        if (g_getenv("MSHARE_REGION"))
                return 5;
        pid = fork();
        if (pid == 0) {
                (void) execve(self, argv, own);
                _exit(127);
        }
        return wait_child(pid);
}

/* As a server: 2 if its memory is in the region, 3 if not. WANTED_ERRNO says what a refusal returns. */
static int main_server(const char *what) {
        const char *wanted = g_getenv("WANTED_ERRNO");
        char *p;

        if (streq(what, "environment"))
                return g_getenv("MSHARE_REGION") ||
                       (g_getenv("LD_PRELOAD") && strstr(g_getenv("LD_PRELOAD"), "mshare-preload"));
        if (streq(what, "insist"))
                return map_shared(BIG, MAP_HUGETLB) == MAP_FAILED;
        p = map_shared(BIG, 0);
        if (p == MAP_FAILED)
                return wanted ? errno != atoi(wanted) : 1;
        if (streq(what, "map-zero") && !is_zero(p, BIG))
                return 4;
        if (streq(what, "map-again") && !in_region(p))
                return upgrade_again();
        return in_region(p) ? 2 : 3;
}

int begin_as_server(int argc, char *argv[]) {
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (n <= 0)
                return 1;
        if (argc == 2 && argv[1][0] != '-')
                return main_server(argv[1]);
        if (argc == 2 && streq(argv[0], "nginx"))
                return main_server("map");
        g_setenv("TEST_PRELOAD", g_getenv("LD_PRELOAD") ?: "", true);
        return -1;
}
