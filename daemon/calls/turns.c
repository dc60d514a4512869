/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Puts aside calls whose answers take long, and dispatches them one by one. It recognizes them by name, and does not answer
 * them.
 */

#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/queue.h>

#include "basic/util.h"
#include "errors.h"
#include "calls/kept.h"
#include "calls/turns.h"

/* Even while other calls keep arriving, one of these is dispatched from time to time. */
#define PATIENCE_USEC (100 * USEC_PER_MSEC)
/* How soon to check again whether the last answer has been sent, and how often: a second in all. */
#define LOOK_AGAIN_USEC (2 * USEC_PER_MSEC)
#define LOOK_AGAIN_MAX 500

typedef struct Turn {
        STAILQ_ENTRY(Turn) turns;
        Kept kept;
} Turn;

/* A user whose calls are put aside. */
typedef struct TurnUser {
        TAILQ_ENTRY(TurnUser) users;
        uid_t uid;
        STAILQ_HEAD(TurnList, Turn) turns;
} TurnUser;

struct Turns {
        sd_bus *bus;
        Callers *const *callers;
        Users *users;
        const Limits *limits;
        const SlowCall *calls;
        CallRefused refused;
        void *userdata;
        sd_bus_slot *filter;
        sd_event_source *idle, *timer;
        TAILQ_HEAD(TurnUserList, TurnUser) waiting; /* the next one first */
        sd_bus_message *now; /* has its turn, and will be dispatched next; or NULL */
        unsigned n_looks;
};

static void schedule(Turns *t) {
        bool on = !t->now && !TAILQ_EMPTY(&t->waiting);

        t->n_looks = 0;
        (void) sd_event_source_set_enabled(t->idle, on ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
        if (on)
                (void) sd_event_source_set_time_relative(t->timer, PATIENCE_USEC);
        (void) sd_event_source_set_enabled(t->timer, on ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* Removes the turn, and its user if that was the last one. */
static void turn_free(Turns *t, TurnUser *user, Turn *turn) {
        STAILQ_REMOVE(&user->turns, turn, Turn, turns);
        users_discharge(t->users, user->uid, COUNT_USER_ASIDE, 1);
        kept_done(&turn->kept);
        free(turn);
        if (STAILQ_EMPTY(&user->turns)) {
                TAILQ_REMOVE(&t->waiting, user, users);
                free(user);
        }
}

static void next_turn(Turns *t) {
        TurnUser *user = TAILQ_FIRST(&t->waiting);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (!user || t->now)
                return;
        TAILQ_REMOVE(&t->waiting, user, users);
        TAILQ_INSERT_TAIL(&t->waiting, user, users);
        m = sd_bus_message_ref(STAILQ_FIRST(&user->turns)->kept.m);
        turn_free(t, user, STAILQ_FIRST(&user->turns));
        r = sd_bus_enqueue_for_read(t->bus, m);
        if (r >= 0)
                t->now = TAKE_PTR(m);
        else {
                t->refused(m, t->userdata);
                (void) sd_bus_reply_method_errno(m, r, NULL);
        }
        schedule(t);
}

/*
 * While the bus has not read the last answer, answers to other calls would have to wait behind the next one. The bus may also
 * have calls that it has not passed on: it does both when it gets a CPU.
 */
static bool answer_is_waiting(Turns *t) {
        uint64_t n = 0;
        int bytes = 0;

        if (t->n_looks >= LOOK_AGAIN_MAX)
                return false;
        return (sd_bus_get_n_queued_write(t->bus, &n) >= 0 && n > 0) ||
               (ioctl(sd_bus_get_fd(t->bus), SIOCOUTQ, &bytes) >= 0 && bytes > 0);
}

static void look(Turns *t) {
        if (!answer_is_waiting(t)) {
                next_turn(t);
                return;
        }
        t->n_looks++;
        (void) sd_event_source_set_enabled(t->idle, SD_EVENT_OFF);
        (void) sd_event_source_set_time_relative(t->timer, LOOK_AGAIN_USEC);
        (void) sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

static int on_idle(sd_event_source *source, void *userdata) {
        look(userdata);
        return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        look(userdata);
        return 0;
}

static bool is_slow(const Turns *t, sd_bus_message *m) {
        const char *interface = sd_bus_message_get_interface(m), *member = sd_bus_message_get_member(m);

        for (const SlowCall *c = t->calls; c->member; c++)
                if (streq(c->member, member) && (!interface || streq(c->interface, interface)) &&
                    (!c->path || streq(c->path, sd_bus_message_get_path(m))))
                        return true;
        return false;
}

static int find_user(Turns *t, uid_t uid, TurnUser **ret) {
        TurnUser *user;

        TAILQ_FOREACH(user, &t->waiting, users)
                if (user->uid == uid) {
                        *ret = user;
                        return 0;
                }
        user = calloc(1, sizeof(*user));
        if (!user)
                return -ENOMEM;
        user->uid = uid;
        STAILQ_INIT(&user->turns);
        TAILQ_INSERT_TAIL(&t->waiting, user, users);
        *ret = user;
        return 0;
}

/* 0, or negative errno with *error set. */
static int put_aside(Turns *t, sd_bus_message *m, uid_t uid, sd_bus_error *error) {
        TurnUser *user;
        Turn *turn;
        int r;

        turn = calloc(1, sizeof(*turn));
        if (!turn)
                return -ENOMEM;
        r = kept_new(m, &turn->kept, error);
        if (r >= 0 && turn->kept.n_fds > 0)
                r = sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "The method '%s' takes no descriptors",
                                      sd_bus_message_get_member(m));
        if (r >= 0)
                r = find_user(t, uid, &user);
        if (r < 0) {
                kept_done(&turn->kept);
                free(turn);
                return r;
        }
        STAILQ_INSERT_TAIL(&user->turns, turn, turns);
        return 0;
}

/* 0, or negative errno with *error set. */
static int charge(Turns *t, uid_t uid, sd_bus_error *error) {
        uint64_t max = t->limits->max[LIMIT_USER_PENDING];

        if (uid != 0 && users_count(t->users, uid, COUNT_USER_ASIDE) >= max)
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "Limit reached, pending calls of user %" PRIu32 " for lists: %" PRIu64
                                         "; see %s= in mshared.conf",
                                         (uint32_t) uid, max, limit_name(LIMIT_USER_PENDING));
        return users_charge_forced(t->users, uid, COUNT_USER_ASIDE, 1);
}

static int filter(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Turns *t = userdata;
        const Identity *who;
        uint8_t type;
        int r;

        if (m == t->now) {
                t->now = sd_bus_message_unref(t->now);
                schedule(t);
                return 0;
        }
        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL || !is_slow(t, m))
                return 0;
        who = callers_find(*t->callers, m);
        if (!who)
                return 0;
        r = charge(t, who->uid, &error);
        if (r >= 0) {
                r = put_aside(t, m, who->uid, &error);
                if (r < 0)
                        users_discharge(t->users, who->uid, COUNT_USER_ASIDE, 1);
        }
        if (r < 0) {
                t->refused(m, t->userdata);
                return sd_bus_reply_method_errno(m, r, &error) < 0 ? r : 1;
        }
        if (sd_event_source_get_enabled(t->timer, NULL) == 0)
                schedule(t);
        return 1;
}

void turns_forget(Turns *t, const char *sender) {
        TurnUser *user, *next_user;
        Turn *turn, *next;

        for (user = TAILQ_FIRST(&t->waiting); user; user = next_user) {
                next_user = TAILQ_NEXT(user, users);
                for (turn = STAILQ_FIRST(&user->turns); turn; turn = next) {
                        /* The user is freed with its last turn. */
                        next = STAILQ_NEXT(turn, turns);
                        if (streq(sd_bus_message_get_sender(turn->kept.m), sender))
                                turn_free(t, user, turn);
                }
        }
        if (t->now && streq(sd_bus_message_get_sender(t->now), sender))
                t->now = sd_bus_message_unref(t->now);
        schedule(t);
}

int turns_new(const CallContext *context, Callers *const *callers, const SlowCall *calls, CallRefused refused,
              void *userdata, Turns **ret) {
        Turns *t;
        int r;

        t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        *t = (Turns){
                .bus = context->bus,
                .callers = callers,
                .users = context->users,
                .limits = context->limits,
                .calls = calls,
                .refused = refused,
                .userdata = userdata,
        };
        TAILQ_INIT(&t->waiting);
        r = sd_event_add_defer(context->event, &t->idle, on_idle, t);
        if (r >= 0)
                r = sd_event_source_set_enabled(t->idle, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_priority(t->idle, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_add_time_relative(context->event, &t->timer, CLOCK_MONOTONIC, PATIENCE_USEC, USEC_PER_MSEC,
                                               on_time, t);
        if (r >= 0)
                r = sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_bus_add_filter(context->bus, &t->filter, filter, t);
        if (r < 0) {
                turns_free(t);
                return r;
        }
        *ret = t;
        return 0;
}

void turns_free(Turns *t) {
        TurnUser *user;

        if (!t)
                return;
        while ((user = TAILQ_FIRST(&t->waiting)))
                turn_free(t, user, STAILQ_FIRST(&user->turns));
        sd_bus_message_unref(t->now);
        sd_bus_slot_unref(t->filter);
        sd_event_source_disable_unref(t->idle);
        sd_event_source_disable_unref(t->timer);
        free(t);
}
