/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The limits by name, and how much each user has used of them. It knows only numbers, and not what is counted.
 *
 * What a user makes the broker keep is charged to that user when it is created, and discharged by its destructor. So a count
 * can be trusted at any time, and no user can exhaust what the broker has. Where users share one supply, such as the leases of
 * a region, a fixed limit is not fair: one user could take all. There, share_is_left() decides.
 */

#include <errno.h>
#include <inttypes.h>

#include "basic/util.h"
#include "model/limits.h"

static const struct {
        const char *name, *meaning;
        uint64_t value;
} table[_LIMIT_MAX] = {
        [LIMIT_REGIONS] = { "RegionsMax", "regions in all", 1024 },
        [LIMIT_REGION_LEASES] = { "LeasesPerRegionMax", "leases of one region", 8192 },
        [LIMIT_USER_REGIONS] = { "RegionsPerUserMax", "regions created by one user", 16 },
        [LIMIT_USER_BYTES] = { "BytesPerUserMax", "bytes in the regions created by one user", UINT64_C(1) << 40 },
        [LIMIT_USER_LEASES] = { "LeasesPerUserMax", "leases of one user", 8192 },
        [LIMIT_USER_PENDING] = { "PendingCallsPerUserMax", "calls of one user under way", 512 },
};

/* For the log. */
static const char *const counts[_COUNT_MAX - _LIMIT_MAX] = {
        [COUNT_USER_QUESTIONS - _LIMIT_MAX] = "questions to polkit",
        [COUNT_USER_DIALOGS - _LIMIT_MAX] = "dialogs of polkit",
        [COUNT_USER_LOST - _LIMIT_MAX] = "questions that polkit has not answered",
        [COUNT_USER_LOST_DIALOGS - _LIMIT_MAX] = "dialogs that polkit has not answered",
        [COUNT_USER_ASIDE - _LIMIT_MAX] = "calls that are put aside",
        [COUNT_USER_DESCRIPTORS - _LIMIT_MAX] = "descriptors of waiting calls",
};

void limits_set_defaults(Limits *limits) {
        for (size_t i = 0; i < _LIMIT_MAX; i++)
                limits->max[i] = table[i].value;
}

const char *limit_name(Limit limit) {
        return table[limit].name;
}

const char *limit_meaning(Limit limit) {
        return table[limit].meaning;
}

int limit_from_name(const char *name) {
        for (int i = 0; i < _LIMIT_MAX; i++)
                if (streq(name, table[i].name))
                        return i;
        return -EINVAL;
}

static User *users_entry(const Users *users, uid_t uid) {
        User *u;

        LIST_FOREACH(u, &users->list, users)
                if (u->uid == uid)
                        return u;
        return NULL;
}

const User *users_find(const Users *users, uid_t uid) {
        return users_entry(users, uid);
}

static User *users_get(Users *users, uid_t uid) {
        User *u = users_entry(users, uid);

        if (u)
                return u;
        u = calloc(1, sizeof(*u));
        if (!u)
                return NULL;
        u->uid = uid;
        LIST_INSERT_HEAD(&users->list, u, users);
        return u;
}

static void user_free(User *u) {
        LIST_REMOVE(u, users);
        free(u);
}

/* Free the entry of a user that has nothing left. */
static void user_gc(User *u) {
        for (size_t i = 0; i < _COUNT_MAX; i++)
                if (u->count[i] > 0)
                        return;
        user_free(u);
}

int users_charge(Users *users, const Limits *limits, uid_t uid, Limit limit, uint64_t amount) {
        uint64_t now = users_count(users, uid, limit);

        if (uid != 0 && (now > limits->max[limit] || amount > limits->max[limit] - now))
                return 1;
        return users_charge_forced(users, uid, limit, amount);
}

int users_charge_forced(Users *users, uid_t uid, Limit limit, uint64_t amount) {
        User *u = users_get(users, uid);

        if (!u)
                return -ENOMEM;
        if (__builtin_add_overflow(u->count[limit], amount, &u->count[limit]))
                u->count[limit] = UINT64_MAX;
        user_gc(u);
        return 0;
}

/* The broker continues with a wrong count: it holds the leases of others. */
static void complain(Users *users, uid_t uid, Limit limit, uint64_t amount, uint64_t have) {
        if (!users->log || users->told & 1u << limit)
                return;
        users->told |= 1u << limit;
        log_message(users->log, LOG_ERR,
                    "Internal error: the count of %s is %" PRIu64 " for user %" PRIu32
                    ", and cannot be reduced by %" PRIu64 "; please report this",
                    limit < _LIMIT_MAX ? limit_meaning(limit) : counts[limit - _LIMIT_MAX], have, (uint32_t) uid,
                    amount);
}

void users_discharge(Users *users, uid_t uid, Limit limit, uint64_t amount) {
        User *u = users_entry(users, uid);
        uint64_t have = u ? u->count[limit] : 0;

        if (amount > have)
                complain(users, uid, limit, amount, have);
        if (!u)
                return;
        u->count[limit] -= amount < have ? amount : have;
        user_gc(u);
}

uint64_t users_count(const Users *users, uid_t uid, Limit limit) {
        const User *u = users_entry(users, uid);

        return u ? u->count[limit] : 0;
}

void users_done(Users *users) {
        User *u;

        while ((u = LIST_FIRST(&users->list)))
                user_free(u);
}
