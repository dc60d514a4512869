/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "pager.h"
#include "util.h"

static const char *find_pager(void) {
        const char *pager;

        pager = getenv("SYSTEMD_PAGER");
        if (!pager)
                pager = getenv("PAGER");
        /* A small system may have none: then the text itself, rather than nothing. */
        if (!pager)
                return "if command -v less > /dev/null; then exec less; else exec cat; fi";
        return pager[0] == '\0' || strcmp(pager, "cat") == 0 ? NULL : pager;
}

void pager_open(struct pager *pager, bool wanted) {
        const char *command = find_pager();
        int fds[2];
        pid_t pid;

        if (!wanted || !command || !isatty(STDOUT_FILENO) || pager->pid > 0)
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
                /* Quit if it fits the screen, keep colours, and leave the text where it was. */
                (void) setenv("LESS", "FRSXMK", 0);
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

void pager_close(struct pager *pager) {
        if (pager->pid <= 0)
                return;

        (void) fflush(stdout);
        (void) close(STDOUT_FILENO);
        while (waitpid(pager->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        pager->pid = 0;
}
