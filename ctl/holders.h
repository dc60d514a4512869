/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_HOLDERS_H
#define MSHARECTL_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Which processes hold a lease. The broker names the one that acquired it, which may have ended, or may have left the lease to
 * others. Of processes of other users only root sees what they have open.
 */

typedef enum HolderState {
        HOLDER_UNKNOWN, /* this user cannot tell */
        HOLDER_HOLDS, /* the process that acquired the lease */
        HOLDER_LEFT, /* that process lives, and has closed the lease */
        HOLDER_ENDED,
} HolderState;

typedef struct Holder {
        /* What the broker says: they identify a lease. */
        uid_t uid;
        pid_t pid; /* that acquired it; 0: not known */
        uint64_t since; /* microseconds */
        HolderState state;
        /* The processes that hold it, if the state is HOLDER_LEFT or HOLDER_ENDED, in the order of their numbers. */
        pid_t *pids;
        size_t n_pids;
} Holder;

void holder_done(Holder *h);

/*
 * Fills in state and processes. proc is where /proc is; it must show the processes of the broker's system. 0, or negative errno.
 */
int holders_find(const char *proc, Holder *list, size_t n);

/* "ended" and so on; NULL for HOLDER_UNKNOWN. */
const char *holder_state_to_string(HolderState state);

#endif
