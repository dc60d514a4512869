/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

typedef struct Pager {
        pid_t pid;
} Pager;

#define PAGER_NONE                                                                                                     \
        (Pager) {                                                                                                      \
                .pid = 0                                                                                               \
        }

/*
 * If standard output is a terminal and `wanted` is true, sends it through $SYSTEMD_PAGER, $PAGER or less(1). If the effective
 * user is not that of the session, uses less(1) in its secure mode, unless $SYSTEMD_PAGERSECURE says otherwise. Without a
 * pager, output goes to the terminal.
 */
void pager_open(Pager *pager, bool wanted);
/* Finishes the output and waits until the user has left the pager. */
void pager_close(Pager *pager);
