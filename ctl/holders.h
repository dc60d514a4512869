/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Which processes hold a lease. The broker names the process that acquired it, but that process may have exited, or may have
 * passed the lease on and closed it. Only root sees what processes of other users have open.
 */

typedef enum HolderState {
        HOLDER_UNKNOWN, /* not visible to this user */
        HOLDER_HOLDS, /* the process that acquired the lease still holds it */
        HOLDER_LEFT, /* that process is running, but has closed the lease */
        HOLDER_ENDED, /* that process has exited */
} HolderState;

typedef struct Holder {
        /* From the broker; these identify a lease. */
        uid_t uid;
        pid_t pid; /* the process that acquired it; 0: not known */
        uint64_t since; /* microseconds */
        HolderState state;
        /* The processes that hold it, if the state is HOLDER_LEFT or HOLDER_ENDED, in the order of their numbers. */
        pid_t *pids;
        size_t n_pids;
} Holder;

void holder_done(Holder *h);

/*
 * Fills in the states and processes. proc is where /proc is; it must show the processes of the broker's system. 0 or negative
 * errno. Reads all of /proc if some lease is held by a process other than its caller.
 */
int holders_find(const char *proc, Holder *list, size_t n);

/* "ended" and so on; NULL for HOLDER_UNKNOWN. */
const char *holder_state_to_string(HolderState state);
