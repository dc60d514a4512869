/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Calls that need permission: a call is kept while polkit is asked, and is dispatched again with the answer. authz.h describes
 * the steps; polkit.c asks.
 */

#include <errno.h>
#include <inttypes.h>
#include <sys/queue.h>

#include "basic/util.h"
#include "errors.h"
#include "calls/authz.h"
#include "policy/caller-unit.h"
#include "policy/descriptors.h"
#include "calls/kept.h"
#include "calls/polkit.h"

/* No method needs more than one. */
#define CHECKS_MAX 2

typedef struct Check {
        const char *action;
        uint64_t id;
        char **details; /* keys and values in turn, NULL-terminated: to compare and to send */
} Check;

/* A call that is not queued and has no question is either in its step, or its message is about to be dispatched again. */
struct Call {
        TAILQ_ENTRY(Call) calls;
        Authz *authz;
        sd_bus_message *m;
        unsigned n_fds; /* that are kept with it */
        bool kept; /* m is a copy, which is small */
        Identity who;
        bool queued;
        uint64_t waits_since_usec; /* since when it waits for polkit, CLOCK_MONOTONIC; 0: it does not wait */
        bool charged; /* to its user, as a pending call */
        Check checks[CHECKS_MAX]; /* the first n_granted are granted, the one after them is under way */
        unsigned n_checks, n_granted, n_used;
        Question *question;
        sd_bus_error verdict; /* set if the answer was no */
};

struct Authz {
        sd_bus *bus;
        Callers *callers;
        Users *users;
        const Limits *limits;
        const unsigned *n_leases;
        Polkit polkit;
        TAILQ_HEAD(CallList, Call) calls;
        uint64_t n_fds; /* that are kept with calls */
};

static void authz_pump(void *userdata);

static void details_free(char **details) {
        for (char **d = details; d && *d; d++)
                free(*d);
        free(details);
}

static char **details_copy(const char *const *details) {
        size_t n = 0;
        char **copy;

        while (details[n])
                n++;
        copy = calloc(n + 1, sizeof(*copy));
        for (size_t i = 0; copy && i < n; i++) {
                copy[i] = strdup(details[i]);
                if (!copy[i]) {
                        details_free(copy);
                        return NULL;
                }
        }
        return copy;
}

static bool details_equal(char *const *a, const char *const *b) {
        for (; *a && *b; a++, b++)
                if (!streq(*a, *b))
                        return false;
        return !*a && !*b;
}

/* Ends the wait for polkit, if there was one. */
static void count_wait(Call *c) {
        PolkitCounts *counts = c->authz->polkit.counts;

        if (c->waits_since_usec == 0)
                return;
        counts->waiting--;
        counts->wait_usec += usec_now(CLOCK_MONOTONIC) - c->waits_since_usec;
        c->waits_since_usec = 0;
}

static void call_free(Call *c) {
        count_wait(c);
        if (c->question)
                question_cancel(c->question);
        TAILQ_REMOVE(&c->authz->calls, c, calls);
        if (c->charged)
                users_discharge(c->authz->users, c->who.uid, LIMIT_USER_PENDING, 1);
        if (c->n_fds > 0)
                users_discharge(c->authz->users, c->who.uid, COUNT_USER_DESCRIPTORS, c->n_fds);
        c->authz->n_fds -= c->n_fds;
        for (unsigned i = 0; i < c->n_checks; i++)
                details_free(c->checks[i].details);
        sd_bus_error_free(&c->verdict);
        identity_done(&c->who);
        sd_bus_message_unref(c->m);
        free(c);
}

sd_bus_message *call_message(Call *c) {
        return c->m;
}

const char *call_sender(Call *c) {
        return sd_bus_message_get_sender(c->m);
}

const Identity *call_identity(Call *c) {
        return &c->who;
}

void call_actor(Call *call, Actor *ret) {
        const Identity *who = call_identity(call);

        *ret = (Actor){ .uid = who->uid, .pid = who->pid, .unit = caller_unit(who->pid, who->uid) };
}

int authz_new(const CallContext *context, Callers *callers, PolkitCounts *counts, Authz **ret) {
        Authz *authz;

        authz = calloc(1, sizeof(*authz));
        if (!authz)
                return -ENOMEM;
        *authz = (Authz){
                .bus = context->bus,
                .callers = callers,
                .users = context->users,
                .limits = context->limits,
                .n_leases = context->n_leases,
        };
        polkit_init(&authz->polkit, context, counts, authz_pump, authz);
        TAILQ_INIT(&authz->calls);
        *ret = authz;
        return 0;
}

void authz_free(Authz *authz) {
        Call *c;

        if (!authz)
                return;
        while ((c = TAILQ_FIRST(&authz->calls))) {
                c->question = NULL;
                call_free(c);
        }
        polkit_done(&authz->polkit);
        free(authz);
}

static int call_new(Authz *authz, sd_bus_message *m, Call **ret) {
        const Identity *who = callers_find(authz->callers, m);
        Call *c;
        int r;

        if (!who)
                return -EACCES;
        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->authz = authz;
        r = identity_copy(who, &c->who);
        if (r < 0) {
                free(c);
                return r;
        }
        c->m = sd_bus_message_ref(m);
        TAILQ_INSERT_TAIL(&authz->calls, c, calls);
        *ret = c;
        return 0;
}

static Call *find_call(Authz *authz, sd_bus_message *m) {
        Call *c;

        TAILQ_FOREACH(c, &authz->calls, calls)
                if (c->m == m)
                        return c;
        return NULL;
}

bool authz_has(Authz *authz, sd_bus_message *m) {
        return find_call(authz, m) != NULL;
}

/* The descriptors that came with a waiting call. 0, or negative errno with *error set. */
static int charge_descriptors(Call *c, unsigned n_fds, sd_bus_error *error) {
        Authz *authz = c->authz;
        uint64_t mine = users_count(authz->users, c->who.uid, COUNT_USER_DESCRIPTORS);
        int r;

        if (n_fds == 0)
                return 0;
        if (!descriptors_left_for_user(mine, authz->n_fds - mine))
                return sd_bus_error_setf(
                        error, ERROR_LIMIT_EXCEEDED,
                        "User %" PRIu32 " has reached its share of descriptors in waiting calls, %" PRIu64
                        "; all users share a quarter of LimitNOFILE= of mshared.service; try again later",
                        (uint32_t) c->who.uid, mine);
        r = users_charge_forced(authz->users, c->who.uid, COUNT_USER_DESCRIPTORS, n_fds);
        if (r < 0)
                return r;
        c->n_fds = n_fds;
        authz->n_fds += n_fds;
        return 0;
}

/* The call waits: keep a copy instead of all that the bus has delivered. 0, or negative errno with *error set. */
static int keep(Call *c, sd_bus_error *error) {
        _cleanup_(kept_done) Kept kept = {};
        int r;

        if (c->kept)
                return 0;
        r = kept_new(c->m, &kept, error);
        if (r >= 0)
                r = charge_descriptors(c, kept.n_fds, error);
        if (r < 0)
                return r;
        sd_bus_message_unref(c->m);
        c->m = TAKE_PTR(kept.m);
        c->kept = true;
        return 0;
}

int authz_run(Authz *authz, sd_bus_message *m, CallStep step, void *userdata, sd_bus_error *error) {
        Call *c = find_call(authz, m);
        int r;

        if (!c) {
                r = call_new(authz, m, &c);
                if (r < 0)
                        return r;
        }
        c->n_used = 0;
        r = step(c, userdata, error);
        if (r == 0)
                r = keep(c, error);
        if (r == 0) {
                authz_pump(authz);
                return 1;
        }
        call_free(c);
        return r;
}

void authz_drop(Authz *authz, sd_bus_message *m) {
        Call *c = find_call(authz, m);

        if (c)
                call_free(c);
}

void authz_forget(Authz *authz, const char *sender) {
        Call *c, *next;

        for (c = TAILQ_FIRST(&authz->calls); c; c = next) {
                next = TAILQ_NEXT(c, calls);
                if (streq(sd_bus_message_get_sender(c->m), sender))
                        call_free(c);
        }
        authz_pump(authz);
}

static int charge(Call *c, sd_bus_error *error) {
        int r;

        if (c->charged)
                return 0;
        if (!descriptors_left_for_call(*c->authz->n_leases))
                return sd_bus_error_setf(
                        error, ERROR_LIMIT_EXCEEDED,
                        "Waiting calls use all of their share of the broker's descriptors, a quarter of "
                        "LimitNOFILE= of mshared.service; try again later");
        r = users_charge(c->authz->users, c->authz->limits, c->who.uid, LIMIT_USER_PENDING, 1);
        if (r > 0)
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "Limit reached, pending calls of user %" PRIu32 ": %" PRIu64
                                         "; see %s= in mshared.conf",
                                         (uint32_t) c->who.uid, c->authz->limits->max[LIMIT_USER_PENDING],
                                         limit_name(LIMIT_USER_PENDING));
        if (r == 0)
                c->charged = true;
        return r;
}

int call_take_charge(Call *c, sd_bus_error *error) {
        int r;

        r = charge(c, error);
        if (r >= 0)
                c->charged = false;
        return r;
}

int call_authorize(Call *c, const char *action, uint64_t id, const char *const *details, sd_bus_error *error) {
        unsigned i = c->n_used;
        char **copy;
        int r;

        if (c->who.uid == 0)
                return 1;
        if (i < c->n_checks) {
                c->n_used++;
                if (!streq(c->checks[i].action, action) || c->checks[i].id != id ||
                    !details_equal(c->checks[i].details, details))
                        return sd_bus_error_setf(
                                error, SD_BUS_ERROR_ACCESS_DENIED,
                                "Region or options of %s changed while polkit was being asked; try again", action);
                if (i < c->n_granted)
                        return 1;
                return sd_bus_error_copy(error, &c->verdict);
        }
        if (c->n_checks == CHECKS_MAX)
                return -E2BIG;
        r = charge(c, error);
        if (r < 0)
                return r;
        copy = details_copy(details);
        if (!copy)
                return -ENOMEM;
        c->checks[c->n_checks++] = (Check){ .action = action, .id = id, .details = copy };
        c->queued = true;
        c->waits_since_usec = usec_now(CLOCK_MONOTONIC);
        c->authz->polkit.counts->waiting++;
        return 0;
}

/* The verdict is known: run the step again. */
static void call_resume(Call *c) {
        int r;

        c->queued = false;
        count_wait(c);
        r = sd_bus_message_rewind(c->m, true);
        if (r >= 0)
                r = sd_bus_enqueue_for_read(c->authz->bus, c->m);
        if (r < 0) {
                (void) sd_bus_reply_method_errno(c->m, r, NULL);
                call_free(c);
        }
}

static void on_verdict(void *userdata, bool granted, sd_bus_error *verdict) {
        Call *c = userdata;

        c->question = NULL;
        if (granted)
                c->n_granted++;
        else
                (void) sd_bus_error_move(&c->verdict, verdict);
        call_resume(c);
}

/* Sends the question that the call waits for if a place is free. */
static int call_ask(Call *c) {
        Polkit *polkit = &c->authz->polkit;
        const Check *check = c->checks + c->n_granted;
        const PolkitQuery query = {
                .call = c->m,
                .uid = c->who.uid,
                .action = check->action,
                .details = check->details,
        };
        int r;

        r = polkit_has_place(polkit, c->m, c->who.uid);
        if (r < 0) {
                polkit_refuse(&c->verdict, check->action, "polkit does not answer");
                call_resume(c);
                return 0;
        }
        if (r == 0)
                return 0;
        c->queued = false;
        return polkit_ask(polkit, &query, on_verdict, c, &c->question);
}

/* Sends as many of the waiting questions as may be under way. */
static void authz_pump(void *userdata) {
        Authz *authz = userdata;
        Call *c, *next;
        int r;

        for (c = TAILQ_FIRST(&authz->calls); c; c = next) {
                next = TAILQ_NEXT(c, calls);
                if (!c->queued)
                        continue;
                r = call_ask(c);
                if (r < 0) {
                        (void) sd_bus_reply_method_errno(c->m, r, NULL);
                        call_free(c);
                }
        }
}
