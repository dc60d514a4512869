/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Asks a PostgreSQL cluster how much shared memory it needs, for Size=auto. It runs the server's program as the server's user.
 * It knows neither the bus nor region files.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "basic/util.h"
#include "region-size.h"

#define PREFIX "postgresql:"
/* The first version that can print how much shared memory it needs. */
#define VERSION_MIN 15

static bool is_word(const char *s, size_t n) {
        if (n == 0 || *s == '.')
                return false;
        for (size_t i = 0; i < n; i++)
                if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
                      s[i] == '_' || s[i] == '-' || s[i] == '.'))
                        return false;
        return true;
}

int region_size_split(const char *server, uint32_t *ret_version, const char **ret_cluster) {
        const char *version = server + strlen(PREFIX), *slash;
        char digits[8];
        size_t n;

        if (strncmp(server, PREFIX, strlen(PREFIX)) != 0)
                return -EINVAL;
        slash = strchr(version, '/');
        n = slash ? (size_t) (slash - version) : 0;
        if (n == 0 || n >= sizeof(digits) || !is_word(slash + 1, strlen(slash + 1)))
                return -EINVAL;
        memcpy(digits, version, n);
        digits[n] = 0;
        if (parse_u32(digits, 10, ret_version) < 0)
                return -EINVAL;
        *ret_cluster = slash + 1;
        return 0;
}

/* The server refuses to run as root, and its files belong to its user. */
static void become_and_run(const struct stat *owner, int fd, char *const *argv) {
        static char *const environment[] = { (char *) "LC_ALL=C", (char *) "PATH=/usr/bin:/bin", NULL };
        /* cppcheck-suppress getpwuidCalled; no threads in here */
        const struct passwd *pw = getpwuid(owner->st_uid);
        int r;

        /* Keep all groups: on Debian, the server can read the key of its certificate because of one of them. */
        r = pw ? initgroups(pw->pw_name, pw->pw_gid) : setgroups(1, &owner->st_gid);
        if (r < 0 || setgid(pw ? pw->pw_gid : owner->st_gid) < 0 || setuid(owner->st_uid) < 0) {
                (void) fprintf(stderr, "Cannot become user %" PRIu32 ": %s.\n", (uint32_t) owner->st_uid,
                               strerror(errno));
                _exit(EXIT_FAILURE);
        }
        if (dup2(fd, STDOUT_FILENO) < 0)
                _exit(EXIT_FAILURE);
        (void) execve(argv[0], argv, environment);
        (void) fprintf(stderr, "Cannot run %s: %s.\n", argv[0], strerror(errno));
        _exit(EXIT_FAILURE);
}

/*
 * Returns the output of the program, without the end of the line. -EIO if the program fails, which prints the reason to
 * standard error.
 */
static int run(const struct stat *owner, char *const *argv, char *ret, size_t size) {
        _cleanup_(closep) int in = -1, out = -1;
        int pipes[2], status;
        size_t n = 0;
        sigset_t none;
        ssize_t k;
        pid_t pid;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        in = pipes[0];
        out = pipes[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                (void) sigemptyset(&none);
                (void) sigprocmask(SIG_SETMASK, &none, NULL);
                become_and_run(owner, out, argv);
        }
        out = safe_close(out);
        while (n < size - 1 && ((k = read(in, ret + n, size - 1 - n)) > 0 || (k < 0 && errno == EINTR)))
                n += k > 0 ? (size_t) k : 0;
        ret[n] = 0;
        in = safe_close(in);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return -EIO;
        ret[strcspn(ret, "\n")] = 0;
        return 0;
}

int region_size_ask(const char *server, uint32_t uid, uint32_t gid, uint64_t *ret) {
        _cleanup_(freep) char *program = NULL, *directory = NULL;
        const char *cluster;
        struct stat owner;
        uint32_t version;
        char answer[64];
        uint64_t mib;
        int r;

        r = region_size_split(server, &version, &cluster);
        if (r < 0)
                return r;
        if (version < VERSION_MIN) {
                (void) fprintf(stderr,
                               "For=%s: PostgreSQL %" PRIu32 " cannot report how much shared memory it needs, "
                               "only version %d and later can; set Size= to a number.\n",
                               server, version, VERSION_MIN);
                return -EOPNOTSUPP;
        }
        if (asprintf(&program, "/usr/lib/postgresql/%" PRIu32 "/bin/postgres", version) < 0)
                program = NULL;
        if (asprintf(&directory, "/etc/postgresql/%" PRIu32 "/%s", version, cluster) < 0)
                directory = NULL;
        if (!program || !directory)
                return -ENOMEM;
        if (stat(directory, &owner) < 0) {
                r = -errno;
                (void) fprintf(stderr, "For=%s: cannot read the configuration %s: %s.\n", server, directory,
                               strerror(-r));
                return r;
        }
        /* Another user may own the folders above, and could put another folder there. */
        if (uid != 0) {
                owner.st_uid = uid;
                owner.st_gid = gid;
        }
        if (owner.st_uid == 0) {
                (void) fprintf(stderr,
                               "For=%s: the configuration %s belongs to root, but PostgreSQL does not run as root; "
                               "set User= to its user.\n",
                               server, directory);
                return -EPERM;
        }
        r = run(&owner,
                (char *[]){ program, (char *) "-D", directory, (char *) "-C", (char *) "shared_memory_size", NULL },
                answer, sizeof(answer));
        /* The server counts in MiB, rounded up. */
        if (r >= 0 && (parse_u64(answer, 10, &mib) < 0 || mib == 0 || mib > UINT64_MAX >> 21))
                r = -EBADMSG;
        if (r < 0) {
                (void) fprintf(stderr,
                               "For=%s: %s -D %s -C shared_memory_size did not print how much shared memory the "
                               "server needs; set Size= to a number.\n",
                               server, program, directory);
                return r;
        }
        /* Add a tenth: it costs nothing until it is touched, and the server may round up to huge pages. */
        *ret = (mib + mib / 10 + 1) << 20;
        (void) fprintf(stderr, "%s needs %" PRIu64 " MiB of shared memory, so the region has %" PRIu64 " MiB.\n",
                       server, mib, *ret >> 20);
        return 0;
}
