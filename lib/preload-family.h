/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Identifies a process even if its PID is reused: the PID in the low bits, and above it the start time of the process, which
 * exec does not change. 0: no process.
 */
typedef uint64_t ProcessId;

/* Never 0. Without /proc, it is only the PID. */
ProcessId process_self(void);
/* The ID of the process with that PID; 0 if there is none or only a zombie, UINT64_MAX if that cannot be read. */
ProcessId process_of(pid_t pid);
/* Whether the process exists. If that cannot be read: yes. */
bool process_alive(ProcessId id);

static inline pid_t process_pid(ProcessId id) {
        return (pid_t) (id & 0x3fffff);
}

/* The data that the process that took the region shares with all processes forked from it. In shared memory. */
typedef struct PreloadFamily {
        _Atomic ProcessId owner;
        _Atomic size_t used; /* bytes at the start of the region that were used since it was last cleared */
} PreloadFamily;

/* NULL without memory. Children inherit the mapping, so it is never unmapped. */
PreloadFamily *preload_family_new(void);

/*
 * Whether this process places memory. If the process that did so has exited, the first of its children that calls this takes
 * over: if a server goes into the background after it has mapped its memory, the server is a child of the process that mapped
 * it.
 */
bool preload_family_own(PreloadFamily *f);
