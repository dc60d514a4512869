/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Starts pkttyagent, through which polkit asks for a password on the terminal, and stops it again. It does not know
 * what is being asked.
 */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <systemd/sd-login.h>

#include "agent.h"
#include "util.h"

/*
 * How long to wait until the agent has registered itself. Without an agent, polkit denies the action. If the agent fails, that
 * is noticed at once, so this is only for an agent that hangs. On a busy machine, some need several seconds.
 */
#define REGISTER_TIMEOUT_MSEC 30000

/*
 * With --fallback, an agent of the login session goes first, which may show the question on the desktop. But outside of login
 * sessions polkit does not use such an agent at all. It looks for a session of the process, then for one of the user whose
 * service manager runs the process.
 */
static bool has_session(void) {
        _cleanup_(freep) char *session = NULL;
        uid_t uid;

        if (sd_pid_get_session(0, &session) >= 0)
                return true;
        return sd_pid_get_owner_uid(0, &uid) >= 0 && sd_uid_get_display(uid, &session) >= 0;
}

void agent_open(Agent *agent, bool wanted) {
        struct pollfd p;
        char number[16];
        int fds[2];
        pid_t pid;

        if (!wanted || geteuid() == 0 || !isatty(STDIN_FILENO))
                return;
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
                (void) fcntl(fds[1], F_SETFD, 0);
                (void) snprintf(number, sizeof(number), "%d", fds[1]);
                (void) execlp("pkttyagent", "pkttyagent", "--notify-fd", number, has_session() ? "--fallback" : NULL,
                              NULL);
                _exit(EXIT_FAILURE);
        }

        /* The agent closes the pipe when it is ready. If it exits, the pipe closes, too. */
        (void) close(fds[1]);
        p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
        (void) poll(&p, 1, REGISTER_TIMEOUT_MSEC);
        (void) close(fds[0]);
        agent->pid = pid;
}

void agent_close(Agent *agent) {
        if (agent->pid <= 0)
                return;

        (void) kill(agent->pid, SIGTERM);
        (void) kill(agent->pid, SIGCONT);
        while (waitpid(agent->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        agent->pid = 0;
}
