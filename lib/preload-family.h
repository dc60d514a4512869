/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_PRELOAD_FAMILY_H
#define MSHARE_PRELOAD_FAMILY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A process for good: numbers come again. The kernel's number in the low half of what an int has room for, and
 * above it when the process began, which exec does not change. 0 is none.
 */
typedef uint64_t process_id;

process_id process_self(void);
/* Of a number; 0 if no such process lives, a zombie included. UINT64_MAX if that cannot be told. */
process_id process_of(pid_t pid);
bool process_alive(process_id id);

static inline pid_t process_pid(process_id id) {
        return (pid_t) (id & 0x3fffff);
}

/* What the processes that were forked from the one that took the region know in common. In shared memory. */
struct preload_family {
        _Atomic process_id owner;
        _Atomic size_t used; /* bytes at the start of the region that were given out since it was last cleared */
};

/* NULL without memory. Children inherit it, so it is never unmapped. */
struct preload_family *preload_family_new(void);

/*
 * Is this process the one that places memory? When that has died, the first of its children that asks becomes it:
 * a server that goes into the background after it has mapped its memory is the child of the one that mapped.
 */
bool preload_family_own(struct preload_family *f);

#endif
