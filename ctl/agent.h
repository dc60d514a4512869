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
 * Where polkit may ask for a password but no desktop shows its question, ask on this terminal, with
 * pkttyagent(1). Nothing happens without a terminal, for root, or if the user wants no question.
 */
void agent_open(Agent *agent, bool wanted);
void agent_close(Agent *agent);

#endif
