/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Starts the pager by the rules of systemd's tools: see the environment variables in systemctl(1). A pager can start a shell,
 * but a user that may run "sudo msharectl list" must not get a root shell from it.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-login.h>

#include "pager.h"
#include "util.h"

static bool is_yes(const char *s) {
        static const char *const words[] = { "1", "yes", "y", "true", "t", "on" };
        size_t i;

        for (i = 0; i < ELEMENTSOF(words); i++)
                if (strcasecmp(s, words[i]) == 0)
                        return true;
        return false;
}

static bool is_no(const char *s) {
        static const char *const words[] = { "0", "no", "n", "false", "f", "off" };
        size_t i;

        for (i = 0; i < ELEMENTSOF(words); i++)
                if (strcasecmp(s, words[i]) == 0)
                        return true;
        return false;
}

/* Whether the session belongs to a user other than the effective one, as with sudo. Without a session: yes, to be safe. */
static bool is_elevated(void) {
        uid_t uid;

        return sd_pid_get_owner_uid(0, &uid) < 0 || uid != geteuid();
}

/* *ret_trusted: the administrator allows the variables that name a pager. */
static bool find_secure_mode(bool *ret_trusted) {
        const char *setting = secure_getenv("SYSTEMD_PAGERSECURE");

        if (!setting || setting[0] == '\0') {
                bool elevated = is_elevated();

                *ret_trusted = !elevated;
                return elevated;
        }
        *ret_trusted = is_yes(setting) || is_no(setting);
        return !is_no(setting);
}

static const char *find_pager(bool trusted) {
        const char *pager = NULL;

        if (trusted) {
                pager = secure_getenv("SYSTEMD_PAGER");
                if (!pager)
                        pager = secure_getenv("PAGER");
        }
        /* A small system may have no pager. Then print the text without one. */
        if (!pager)
                return "if command -v less > /dev/null; then exec less; else exec cat; fi";
        return pager[0] == '\0' || streq(pager, "cat") ? NULL : pager;
}

void pager_open(Pager *pager, bool wanted) {
        const char *command, *less;
        bool secure, trusted;
        int fds[2];
        pid_t pid;

        if (!wanted || !isatty(STDOUT_FILENO) || pager->pid > 0)
                return;
        secure = find_secure_mode(&trusted);
        command = find_pager(trusted);
        if (!command)
                return;

        (void) fflush(stdout);
        if (pipe2(fds, O_CLOEXEC) < 0)
                return;

        pid = fork();
        if (pid < 0) {
                (void) close(fds[0]);
                (void) close(fds[1]);
                return;
        }
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
                if (dup2(fds[0], STDIN_FILENO) < 0)
                        _exit(EXIT_FAILURE);
                /*
                 * Quit if it fits the screen, keep colours, and leave the text on the screen. The old $LESS is not used: its
                 * options can run programs.
                 */
                less = secure_getenv("SYSTEMD_LESS");
                if (setenv("LESS", trusted && less ? less : "FRSXMK", 1) < 0 ||
                    (secure ? setenv("LESSSECURE", "1", 1) : unsetenv("LESSSECURE")) < 0)
                        _exit(EXIT_FAILURE);
                (void) execl("/bin/sh", "sh", "-c", command, NULL);
                _exit(EXIT_FAILURE);
        }

        (void) dup2(fds[1], STDOUT_FILENO);
        (void) close(fds[0]);
        (void) close(fds[1]);
        /* The user may leave the pager before the end. */
        (void) signal(SIGPIPE, SIG_IGN);
        pager->pid = pid;
}

void pager_close(Pager *pager) {
        if (pager->pid <= 0)
                return;

        (void) fflush(stdout);
        (void) close(STDOUT_FILENO);
        while (waitpid(pager->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        pager->pid = 0;
}
