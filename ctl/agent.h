/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_AGENT_H
#define MSHARECTL_AGENT_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct Agent {
        pid_t pid;
} Agent;

#define AGENT_NONE                                                                                                     \
        (Agent) {                                                                                                      \
                .pid = 0                                                                                               \
        }

/*
 * Lets polkit ask for a password on this terminal with pkttyagent(1), because there may be no desktop that shows the question.
 * Does nothing without a terminal, for root, or if the user does not want to be asked.
 */
void agent_open(Agent *agent, bool wanted);
void agent_close(Agent *agent);

#endif
