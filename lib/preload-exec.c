/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Intercepts exec and posix_spawn, and decides which programs may use the region. Programs that a server executes do not use
 * it, with two exceptions. If the process that took the region executes a program, that is the server itself, because uWSGI and
 * others restart in the same process: the settings are restored. If a child executes the server's own program, as nginx does
 * when its binary is upgraded, the settings are restored with the mark, so that the new program reports that its memory is not
 * in the region. If the server has nothing in the region and passes its environment on, there is no mark, and the new program
 * may use the region.
 *
 * exec functions are called between fork and exec, so nothing here may allocate memory.
 */

#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload-env.h"
#include "preload-state.h"
#include "util.h"

typedef enum How {
        BY_PATH,
        BY_SEARCH,
        BY_FD,
} How;

typedef int SpawnFunction(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                          const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]);

static bool is_own_program(const char *file) {
        static const char deleted[] = " (deleted)";
        char path[4096];
        ssize_t n;

        n = readlink("/proc/self/exe", path, sizeof(path) - 1);
        if (n <= 0 || !file || !*file)
                return false;
        path[n] = '\0';
        /* An upgrade has replaced the file. */
        if ((size_t) n > strlen(deleted) && streq(path + n - strlen(deleted), deleted))
                path[(size_t) n - strlen(deleted)] = '\0';
        return streq(path_base(path), path_base(file));
}

static int run(How how, int fd, const char *file, char *const argv[], char *const envp[], int flags) {
        __typeof__(execvpe) *search;

        switch (how) {
        case BY_SEARCH:
                search = (__typeof__(search)) dlsym(RTLD_NEXT, "execvpe");
                if (!search) {
                        errno = ENOSYS;
                        return -1;
                }
                return search(file, argv, envp);
        case BY_FD:
                return (int) syscall(SYS_execveat, fd, file, argv, envp, (long) flags);
        case BY_PATH:
        default:
                return (int) syscall(SYS_execve, file, argv, envp);
        }
}

static int execute_at(How how, int fd, const char *file, char *const argv[], char *const envp[], int flags) {
        PreloadEnvNeed need;
        char **entries, *text;
        bool own, mark;

        if (!preload_is_settled())
                return run(how, fd, file, argv, envp, flags);
        own = preload_is_server() || is_own_program(file);
        if (!own && !preload_env_is_earlier(envp))
                return run(how, fd, file, argv, envp, flags);
        /*
         * With nothing in the region, a program that gets a copy of the server's environment may use the region. nginx passes
         * an environment of its own. If its new program then could not use the region, the upgrade would fail.
         */
        mark = preload_is_decided() || !preload_env_is_marked(envp);

        need = preload_env_measure(envp);
        /* cppcheck-suppress allocaCalled */
        entries = alloca(need.entries * sizeof(*entries));
        /* cppcheck-suppress allocaCalled */
        text = alloca(need.text);
        if (own)
                preload_env_restore(envp, entries, text, mark);
        else
                preload_env_conceal(envp, entries, text);
        return run(how, fd, file, argv, entries, flags);
}

static int execute(How how, const char *file, char *const argv[], char *const envp[]) {
        return execute_at(how, -1, file, argv, envp, 0);
}

_public_ int execve(const char *path, char *const argv[], char *const envp[]) {
        return execute(BY_PATH, path, argv, envp);
}

_public_ int execv(const char *path, char *const argv[]) {
        return execute(BY_PATH, path, argv, environ);
}

_public_ int execvpe(const char *file, char *const argv[], char *const envp[]) {
        return execute(BY_SEARCH, file, argv, envp);
}

_public_ int execvp(const char *file, char *const argv[]) {
        return execute(BY_SEARCH, file, argv, environ);
}

_public_ int fexecve(int fd, char *const argv[], char *const envp[]) {
        return execute_at(BY_FD, fd, "", argv, envp, AT_EMPTY_PATH);
}

_public_ int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags) {
        return execute_at(BY_FD, fd, path, argv, envp, flags);
}

/* What a server starts in this way is always another process. The C library does not use the functions above for it. */
static int spawn(const char *name, pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
        SpawnFunction *function = (SpawnFunction *) dlsym(RTLD_NEXT, name);
        PreloadEnvNeed need;
        char **entries, *text;

        if (!function)
                return ENOSYS;
        if (!preload_is_settled() || !preload_env_is_earlier(envp))
                return function(pid, file, actions, attributes, argv, envp);

        need = preload_env_measure(envp);
        /* cppcheck-suppress allocaCalled */
        entries = alloca(need.entries * sizeof(*entries));
        /* cppcheck-suppress allocaCalled */
        text = alloca(need.text);
        preload_env_conceal(envp, entries, text);
        return function(pid, file, actions, attributes, argv, entries);
}

_public_ int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
        return spawn("posix_spawn", pid, path, actions, attributes, argv, envp);
}

_public_ int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                          const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
        return spawn("posix_spawnp", pid, file, actions, attributes, argv, envp);
}

static size_t count_arguments(const char *first, va_list ap) {
        size_t n;

        if (!first)
                return 1;
        for (n = 2; va_arg(ap, char *); n++)
                ;
        return n;
}

/*
 * Makes an array of the arguments from first to the NULL, on the stack of the function that uses this. Afterwards ap is behind
 * them.
 */
#define COLLECT(argv, first, ap)                                                                                       \
        do {                                                                                                           \
                size_t _n, _i;                                                                                         \
                va_list _count;                                                                                        \
                va_copy(_count, ap);                                                                                   \
                _n = count_arguments(first, _count);                                                                   \
                va_end(_count);                                                                                        \
                (argv) = alloca(_n * sizeof(char *));                                                                  \
                (argv)[0] = (char *) (first);                                                                          \
                for (_i = 1; _i < _n; _i++)                                                                            \
                        (argv)[_i] = va_arg(ap, char *);                                                               \
        } while (0)

_public_ int execl(const char *path, const char *arg, ...) {
        char **argv;
        va_list ap;

        va_start(ap, arg);
        /* cppcheck-suppress allocaCalled */
        COLLECT(argv, arg, ap);
        va_end(ap);
        return execute(BY_PATH, path, argv, environ);
}

_public_ int execlp(const char *file, const char *arg, ...) {
        char **argv;
        va_list ap;

        va_start(ap, arg);
        /* cppcheck-suppress allocaCalled */
        COLLECT(argv, arg, ap);
        va_end(ap);
        return execute(BY_SEARCH, file, argv, environ);
}

_public_ int execle(const char *path, const char *arg, ...) {
        char **argv, **envp;
        va_list ap;

        va_start(ap, arg);
        /* cppcheck-suppress allocaCalled */
        COLLECT(argv, arg, ap);
        envp = va_arg(ap, char **);
        va_end(ap);
        return execute(BY_PATH, path, argv, envp);
}
