/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "basic/log.h"

/*
 * Everything that a user can make the broker keep is counted against a limit. LIMIT_USER_* are counted here, per uid. The
 * others are counted by their owners: regions by the manager, leases by the region. uid 0 has no per-user limits.
 */
typedef enum Limit {
        LIMIT_REGIONS,
        LIMIT_REGION_LEASES,
        LIMIT_USER_REGIONS,
        LIMIT_USER_BYTES,
        LIMIT_USER_LEASES,
        LIMIT_USER_PENDING,
        _LIMIT_MAX,
        /* Counted in the same way, with fixed limits; see places.h. */
        COUNT_USER_QUESTIONS = _LIMIT_MAX,
        COUNT_USER_DIALOGS,
        COUNT_USER_LOST,
        COUNT_USER_LOST_DIALOGS,
        /* Calls that are put aside, see turns.h. LIMIT_USER_PENDING limits them, too, but they are counted apart. */
        COUNT_USER_ASIDE,
        /* Descriptors that came with calls that wait for polkit, see descriptors.h. */
        COUNT_USER_DESCRIPTORS,
        _COUNT_MAX,
} Limit;

typedef struct Limits {
        uint64_t max[_LIMIT_MAX];
} Limits;

typedef struct User {
        LIST_ENTRY(User) users;
        uid_t uid;
        uint64_t count[_COUNT_MAX];
} User;

typedef struct Users {
        LIST_HEAD(UserList, User) list;
        const Log *log; /* for errors of the broker in its counting; or NULL */
        unsigned told; /* the counts for which one was logged, as bits */
} Users;

void limits_set_defaults(Limits *limits);

/* The key in section [Limits] of the configuration, which is also the name of the bus property. */
const char *limit_name(Limit limit);
/* What is limited, as text for messages: "leases of one user". */
const char *limit_meaning(Limit limit);
/* The reverse of limit_name(), or -EINVAL. */
int limit_from_name(const char *name);

/* Counts amount more for uid. Returns 0, 1 if that would exceed the limit (nothing is counted then), or -ENOMEM. */
int users_charge(Users *users, const Limits *limits, uid_t uid, Limit limit, uint64_t amount);
/* As users_charge(), for what exists already and must be counted whatever the limit is. Returns 0 or -ENOMEM. */
int users_charge_forced(Users *users, uid_t uid, Limit limit, uint64_t amount);
/* Giving back more than was counted is an error of the broker: it is logged once for each kind, and nothing is counted then. */
void users_discharge(Users *users, uid_t uid, Limit limit, uint64_t amount);
/* The user's own entry, which exists while anything is counted for the user, or NULL. */
const User *users_find(const Users *users, uid_t uid);
uint64_t users_count(const Users *users, uid_t uid, Limit limit);
void users_done(Users *users);

/*
 * Whether a user that has `mine` of `max` things, while all others have `others`, may have one more. A user may have at most as
 * many as are left. A single user gets half, the next user half of the rest, and so on: the first users cannot take all.
 */
static inline bool share_is_left(uint64_t mine, uint64_t others, uint64_t max) {
        return others < max && mine <= (max - others) / 2 && 2 * mine < max - others;
}
