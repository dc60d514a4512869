/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

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
 * Does nothing without a terminal, for root, or if `wanted` is false. Waits until the agent is ready, for up to 30 s.
 */
void agent_open(Agent *agent, bool wanted);
/* Stops the agent, if there is one, and waits until it has exited. */
void agent_close(Agent *agent);
