/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Asks polkit without waiting for it: a call is kept while its question is open and is dispatched again with the answer.
 * authz.h describes the steps.
 */

#include <errno.h>
#include <inttypes.h>
#include <sys/queue.h>

#include "basic/util.h"
#include "errors.h"
#include "policy/authz.h"
#include "policy/descriptors.h"
#include "policy/places.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"

/* Time to answer: a rule is evaluated in milliseconds, a human being has to find the password. */
#define TIMEOUT_USEC (25 * USEC_PER_SEC)
#define TIMEOUT_INTERACTIVE_USEC (300 * USEC_PER_SEC)

/* No method needs more than one. */
#define CHECKS_MAX 2

typedef struct Check {
        const char *action;
        uint64_t id;
        char *details; /* all keys and values, each ended by \n: to compare and to send */
} Check;

/* A question to polkit, from sending it to the answer, whether a call still waits for it or not. */
typedef struct Question {
        LIST_ENTRY(Question) questions;
        Authz *authz;
        Call *call; /* NULL once it is cancelled */
        uid_t uid;
        bool dialog; /* a person may be asked */
        uint64_t id; /* for the cancellation */
        sd_bus_slot *slot;
        sd_event_source *timer;
        bool lost; /* cancelled, and not even that was answered */
} Question;

/* If it is not queued, and has no question: the step is on the stack, or the message is on its way to it. */
struct Call {
        TAILQ_ENTRY(Call) calls;
        Authz *authz;
        sd_bus_message *m;
        Identity who;
        bool queued;
        bool charged; /* as one that waits, to its user */
        Check checks[CHECKS_MAX]; /* the first n_granted are granted, the one after them is under way */
        unsigned n_checks, n_granted, n_used;
        Question *question;
        sd_bus_error verdict; /* set if the answer was no */
};

struct Authz {
        sd_bus *bus;
        const Log *log;
        Callers *callers;
        Users *users;
        const Limits *limits;
        const unsigned *n_leases;
        Places places;
        uint64_t last_id;
        LIST_HEAD(QuestionList, Question) questions;
        TAILQ_HEAD(CallList, Call) calls;
};

static void authz_pump(Authz *authz);

static bool call_allows_dialog(const Call *c) {
        return sd_bus_message_get_allow_interactive_authorization(c->m) > 0;
}

static int question_new(Call *c, Question **ret) {
        Authz *authz = c->authz;
        Question *q;

        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        *q = (Question){
                .authz = authz,
                .call = c,
                .uid = c->who.uid,
                .dialog = call_allows_dialog(c),
                .id = ++authz->last_id,
        };
        if (places_take(&authz->places, q->uid, q->dialog) < 0) {
                free(q);
                return -ENOMEM;
        }
        LIST_INSERT_HEAD(&authz->questions, q, questions);
        c->question = q;
        *ret = q;
        return 0;
}

static void question_free(Question *q) {
        Authz *authz = q->authz;

        if (q->call)
                q->call->question = NULL;
        places_give_back(&authz->places, q->uid, q->dialog, q->lost);
        LIST_REMOVE(q, questions);
        sd_event_source_disable_unref(q->timer);
        sd_bus_slot_unref(q->slot);
        free(q);
}

/* No call waits for the answer any more: close the dialog, but await polkit's reply so that a hung polkit is noticed. */
static void question_cancel(Question *q) {
        char id[32];

        q->call->question = NULL;
        q->call = NULL;
        (void) snprintf(id, sizeof(id), "%" PRIu64, q->id);
        (void) sd_bus_call_method_async(q->authz->bus, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                        "CancelCheckAuthorization", NULL, NULL, "s", id);
        (void) sd_event_source_set_time_relative(q->timer, AUTHZ_GRACE_USEC);
        (void) sd_event_source_set_enabled(q->timer, SD_EVENT_ONESHOT);
}

static void call_free(Call *c) {
        if (c->question)
                question_cancel(c->question);
        TAILQ_REMOVE(&c->authz->calls, c, calls);
        if (c->charged)
                users_discharge(c->authz->users, c->who.uid, LIMIT_USER_PENDING, 1);
        for (unsigned i = 0; i < c->n_checks; i++)
                free(c->checks[i].details);
        sd_bus_error_free(&c->verdict);
        identity_done(&c->who);
        sd_bus_message_unref(c->m);
        free(c);
}

sd_bus_message *call_message(Call *c) {
        return c->m;
}

const Identity *call_identity(Call *c) {
        return &c->who;
}

int authz_new(sd_bus *bus, const Log *log, Callers *callers, Users *users, const Limits *limits,
              const unsigned *n_leases, Authz **ret) {
        Authz *authz;

        authz = calloc(1, sizeof(*authz));
        if (!authz)
                return -ENOMEM;
        *authz = (Authz){
                .bus = bus,
                .log = log,
                .callers = callers,
                .users = users,
                .limits = limits,
                .n_leases = n_leases,
                .places.users = users,
        };
        LIST_INIT(&authz->questions);
        TAILQ_INIT(&authz->calls);
        *ret = authz;
        return 0;
}

void authz_free(Authz *authz) {
        Question *q;
        Call *c;

        if (!authz)
                return;
        /* First, and without a cancellation: polkit sees us leave. */
        while ((q = LIST_FIRST(&authz->questions)))
                question_free(q);
        while ((c = TAILQ_FIRST(&authz->calls)))
                call_free(c);
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

static Call *find(Authz *authz, sd_bus_message *m) {
        Call *c;

        TAILQ_FOREACH(c, &authz->calls, calls)
                if (c->m == m)
                        return c;
        return NULL;
}

int authz_run(Authz *authz, sd_bus_message *m, CallStep step, void *userdata, sd_bus_error *error) {
        Call *c = find(authz, m);
        int r;

        if (!c) {
                r = call_new(authz, m, &c);
                if (r < 0)
                        return r;
        }
        c->n_used = 0;
        r = step(c, userdata, error);
        if (r == 0) {
                authz_pump(authz);
                return 1;
        }
        call_free(c);
        return r;
}

void authz_drop(Authz *authz, sd_bus_message *m) {
        Call *c = find(authz, m);

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

static char *flatten(const char *const *details) {
        size_t size = 1;
        char *s, *p;

        for (const char *const *d = details; *d; d++)
                size += strlen(*d) + 1;
        s = malloc(size);
        if (!s)
                return NULL;
        p = s;
        for (const char *const *d = details; *d; d++) {
                p = stpcpy(p, *d);
                *p++ = '\n';
        }
        *p = 0;
        return s;
}

static int charge(Call *c, sd_bus_error *error) {
        int r;

        if (c->charged)
                return 0;
        /* A call keeps the descriptors that came with it, whether the method takes any or not: up to 16 on the stock bus. */
        if (!descriptors_left_for_call(*c->authz->n_leases))
                return sd_bus_error_setf(
                        error, ERROR_LIMIT_EXCEEDED,
                        "Waiting calls use all of their share of the broker's descriptors, a quarter of "
                        "LimitNOFILE= of mshared.service; try again later");
        r = users_charge(c->authz->users, c->authz->limits, c->who.uid, LIMIT_USER_PENDING, 1);
        if (r > 0)
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "User %" PRIu32 " has %" PRIu64
                                         " calls pending, which is the limit; see %s= in mshared.conf",
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
        _cleanup_(freep) char *flat = NULL;
        unsigned i = c->n_used;
        int r;

        if (c->who.uid == 0)
                return 1;
        flat = flatten(details);
        if (!flat)
                return -ENOMEM;
        if (i < c->n_checks) {
                c->n_used++;
                if (!streq(c->checks[i].action, action) || c->checks[i].id != id || !streq(c->checks[i].details, flat))
                        return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                                                 "The object of %s changed while polkit was asked; try again", action);
                if (i < c->n_granted)
                        return 1;
                return sd_bus_error_copy(error, &c->verdict);
        }
        if (c->n_checks == CHECKS_MAX)
                return -E2BIG;
        r = charge(c, error);
        if (r < 0)
                return r;
        c->checks[c->n_checks++] = (Check){ .action = action, .id = id, .details = TAKE_PTR(flat) };
        c->queued = true;
        return 0;
}

static int append_details(sd_bus_message *q, char *flat) {
        char *save = NULL, *key, *value;
        int r;

        r = sd_bus_message_open_container(q, 'a', "{ss}");
        if (r < 0)
                return r;
        for (key = strtok_r(flat, "\n", &save); key; key = strtok_r(NULL, "\n", &save)) {
                value = strtok_r(NULL, "\n", &save);
                if (!value)
                        break;
                r = sd_bus_message_append(q, "{ss}", key, value);
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(q);
}

static void refuse(Call *c, const char *why) {
        (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_ACCESS_DENIED, "%s needs polkit's permission, and %s",
                                 c->checks[c->n_granted].action, why);
}

static void verdict_from_error(Call *c, const sd_bus_error *e, const char *action) {
        if (sd_bus_error_has_names(e, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                refuse(c, "there is no polkit on the bus");
        else if (sd_bus_error_has_names(e, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
                refuse(c, "polkit did not answer in time");
        else
                (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "%s needs polkit's permission, and polkit failed: %s", action,
                                         e->message ?: e->name);
}

static void call_read_answer(Call *c, sd_bus_message *answer) {
        const char *action = c->checks[c->n_granted].action;
        const sd_bus_error *e = sd_bus_message_get_error(answer);
        int authorized, challenge, r;

        if (e) {
                verdict_from_error(c, e, action);
                log_message(c->authz->log, LOG_NOTICE, "polkit failed to check %s for user %" PRIu32 ": %s", action,
                            (uint32_t) c->who.uid, e->message ?: e->name);
                return;
        }
        r = sd_bus_message_enter_container(answer, 'r', "bba{ss}");
        if (r > 0)
                r = sd_bus_message_read(answer, "bb", &authorized, &challenge);
        if (r <= 0)
                refuse(c, "polkit's answer is not valid");
        else if (authorized)
                c->n_granted++;
        else if (challenge && !call_allows_dialog(c))
                (void) sd_bus_error_setf(
                        &c->verdict, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                        "%s needs authentication, but the call did not allow interactive authorization", action);
        else
                (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "polkit does not permit %s for user %" PRIu32, action, (uint32_t) c->who.uid);
}

/* The verdict is known: run the step again. */
static void call_resume(Call *c) {
        int r;

        c->queued = false;
        r = sd_bus_message_rewind(c->m, true);
        if (r >= 0)
                r = sd_bus_enqueue_for_read(c->authz->bus, c->m);
        if (r < 0) {
                (void) sd_bus_reply_method_errno(c->m, r, NULL);
                call_free(c);
        }
}

static int polkit_answered(sd_bus_message *answer, void *userdata, sd_bus_error *unused) {
        Question *q = userdata;
        Authz *authz = q->authz;
        Call *c = q->call;

        question_free(q);
        if (c) {
                call_read_answer(c, answer);
                call_resume(c);
        }
        authz_pump(authz);
        return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        Question *q = userdata;
        Authz *authz = q->authz;
        Call *c = q->call;

        if (c) {
                log_message(authz->log, LOG_NOTICE, "polkit did not answer in time about %s for user %" PRIu32,
                            c->checks[c->n_granted].action, (uint32_t) q->uid);
                question_cancel(q);
                refuse(c, "polkit did not answer in time");
                call_resume(c);
        } else if (places_lose(&authz->places, q->uid, q->dialog) >= 0)
                q->lost = true;
        authz_pump(authz);
        return 0;
}

static int send_question(Call *c, Question *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = c->authz->bus;
        const Check *check = c->checks + c->n_granted;
        _cleanup_(freep) char *details = NULL;
        char id[32];
        int r;

        (void) snprintf(id, sizeof(id), "%" PRIu64, q->id);
        details = strdup(check->details);
        if (!details)
                return -ENOMEM;
        r = sd_event_add_time_relative(sd_bus_get_event(bus), &q->timer, CLOCK_MONOTONIC,
                                       q->dialog ? TIMEOUT_INTERACTIVE_USEC : TIMEOUT_USEC, 0, on_time, q);
        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                                   "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(c->m), check->action);
        if (r >= 0)
                r = append_details(m, details);
        if (r >= 0)
                r = sd_bus_message_append(m, "us", (uint32_t) q->dialog, id);
        /* No timeout here: the bus would still count the call as pending. */
        return r < 0 ? r : sd_bus_call_async(bus, &q->slot, m, polkit_answered, q, UINT64_MAX);
}

static int call_ask(Call *c) {
        Question *q;
        int r;

        r = question_new(c, &q);
        if (r < 0)
                return r;
        c->queued = false;
        r = send_question(c, q);
        if (r < 0)
                question_free(q);
        return r;
}

/* Sends as many of the waiting questions as may be under way. */
static void authz_pump(Authz *authz) {
        Call *c, *next;
        int r;

        for (c = TAILQ_FIRST(&authz->calls); c; c = next) {
                next = TAILQ_NEXT(c, calls);
                if (!c->queued)
                        continue;
                if (places_are_lost(&authz->places, c->who.uid, call_allows_dialog(c))) {
                        refuse(c, "polkit does not answer");
                        call_resume(c);
                        continue;
                }
                if (!places_have_one(&authz->places, c->who.uid, call_allows_dialog(c)))
                        continue;
                r = call_ask(c);
                if (r < 0) {
                        (void) sd_bus_reply_method_errno(c->m, r, NULL);
                        call_free(c);
                }
        }
}
