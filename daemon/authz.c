/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <sys/queue.h>

#include "authz.h"
#include "errors.h"
#include "util.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"

/* Time to answer: a rule is evaluated in milliseconds, a human being has to find the password. */
#define TIMEOUT_USEC (25 * USEC_PER_SEC)
#define TIMEOUT_INTERACTIVE_USEC (300 * USEC_PER_SEC)

/* CreateRegion needs three at most. */
#define CHECKS_MAX 4

typedef struct Check {
        const char *action;
        uint64_t id;
        char *details; /* all keys and values, each ended by \n: to compare and to send */
} Check;

typedef enum CallState {
        CALL_RUNNING, /* the step is on the stack, or the message is on its way to it */
        CALL_QUEUED,
        CALL_ASKED,
} CallState;

struct Call {
        TAILQ_ENTRY(Call) calls;
        Authz *authz;
        sd_bus_message *m;
        Identity who;
        CallState state;
        bool charged;
        Check checks[CHECKS_MAX]; /* the first n_granted are granted, the one after them is under way */
        unsigned n_checks, n_granted, n_used;
        sd_bus_slot *slot;
        uint64_t cancellation;
        sd_bus_error verdict; /* set if the answer was no */
};

struct Authz {
        sd_bus *bus;
        const Log *log;
        Callers *callers;
        Users *users;
        const Limits *limits;
        unsigned n_in_flight;
        uint64_t cancellation;
        TAILQ_HEAD(CallList, Call) calls;
};

static void authz_pump(Authz *authz);

static void call_leave_flight(Call *c) {
        if (c->state == CALL_ASKED)
                c->authz->n_in_flight--;
        c->state = CALL_RUNNING;
        c->slot = sd_bus_slot_unref(c->slot);
}

static void call_free(Call *c) {
        call_leave_flight(c);
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

int authz_new(sd_bus *bus, const Log *log, Callers *callers, Users *users, const Limits *limits, Authz **ret) {
        Authz *authz;

        authz = calloc(1, sizeof(*authz));
        if (!authz)
                return -ENOMEM;
        *authz = (Authz) { .bus = bus, .log = log, .callers = callers, .users = users, .limits = limits };
        TAILQ_INIT(&authz->calls);
        *ret = authz;
        return 0;
}

void authz_free(Authz *authz) {
        Call *c;

        if (!authz)
                return;
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
                if (!streq(sd_bus_message_get_sender(c->m), sender))
                        continue;
                if (c->state == CALL_ASKED) {
                        char id[32];

                        (void) snprintf(id, sizeof(id), "%" PRIu64, c->cancellation);
                        (void) sd_bus_call_method_async(authz->bus, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                                        "CancelCheckAuthorization", NULL, NULL, "s", id);
                }
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
        r = users_charge(c->authz->users, c->authz->limits, c->who.uid, LIMIT_USER_PENDING, 1);
        if (r > 0)
                return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                         "User %" PRIu32 " has %" PRIu64
                                         " calls under way already; %s= in mshared.conf is the limit",
                                         (uint32_t) c->who.uid, c->authz->limits->max[LIMIT_USER_PENDING],
                                         limit_name(LIMIT_USER_PENDING));
        c->charged = r == 0;
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
                                                 "What %s was asked for has changed while polkit was asked; try again",
                                                 action);
                if (i < c->n_granted)
                        return 1;
                return sd_bus_error_copy(error, &c->verdict);
        }
        if (c->n_checks == CHECKS_MAX)
                return -E2BIG;
        r = charge(c, error);
        if (r < 0)
                return r;
        c->checks[c->n_checks++] = (Check) { .action = action, .id = id, .details = TAKE_PTR(flat) };
        c->state = CALL_QUEUED;
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

static void verdict_from_error(Call *c, const sd_bus_error *e, const char *action) {
        if (sd_bus_error_has_names(e, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "%s needs polkit's permission, and there is no polkit on the bus", action);
        else if (sd_bus_error_has_names(e, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
                (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "%s needs polkit's permission, and polkit did not answer in time", action);
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
                log_message(c->authz->log, LOG_NOTICE, "polkit, asked about %s for user %" PRIu32 ": %s", action,
                            (uint32_t) c->who.uid, e->message ?: e->name);
                return;
        }
        r = sd_bus_message_enter_container(answer, 'r', "bba{ss}");
        if (r > 0)
                r = sd_bus_message_read(answer, "bb", &authorized, &challenge);
        if (r <= 0)
                (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "%s needs polkit's permission, and polkit's answer makes no sense", action);
        else if (authorized)
                c->n_granted++;
        else if (challenge && sd_bus_message_get_allow_interactive_authorization(c->m) <= 0)
                (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                         "%s needs authentication, and the call did not allow asking for it", action);
        else
                (void) sd_bus_error_setf(&c->verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "polkit does not permit %s to user %" PRIu32, action, (uint32_t) c->who.uid);
}

static int polkit_answered(sd_bus_message *answer, void *userdata, sd_bus_error *unused) {
        Call *c = userdata;
        Authz *authz = c->authz;
        int r;

        call_leave_flight(c);
        call_read_answer(c, answer);
        r = sd_bus_message_rewind(c->m, true);
        if (r >= 0)
                r = sd_bus_enqueue_for_read(authz->bus, c->m);
        if (r < 0) {
                (void) sd_bus_reply_method_errno(c->m, r, NULL);
                call_free(c);
        }
        authz_pump(authz);
        return 0;
}

static int call_ask(Call *c) {
        sd_bus_message *q = NULL;
        Authz *authz = c->authz;
        const Check *check = c->checks + c->n_granted;
        _cleanup_(freep) char *details = NULL;
        bool interactive = sd_bus_message_get_allow_interactive_authorization(c->m) > 0;
        char id[32];
        int r;

        c->cancellation = ++authz->cancellation;
        (void) snprintf(id, sizeof(id), "%" PRIu64, c->cancellation);
        details = strdup(check->details);
        if (!details)
                return -ENOMEM;
        r = sd_bus_message_new_method_call(authz->bus, &q, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                           "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(q, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(c->m), check->action);
        if (r >= 0)
                r = append_details(q, details);
        if (r >= 0)
                r = sd_bus_message_append(q, "us", (uint32_t) interactive, id);
        if (r >= 0)
                r = sd_bus_call_async(authz->bus, &c->slot, q, polkit_answered, c,
                                      interactive ? TIMEOUT_INTERACTIVE_USEC : TIMEOUT_USEC);
        sd_bus_message_unref(q);
        return r;
}

static unsigned in_flight_of(Authz *authz, uid_t uid) {
        unsigned n = 0;
        Call *c;

        TAILQ_FOREACH(c, &authz->calls, calls)
                n += c->state == CALL_ASKED && c->who.uid == uid;
        return n;
}

/* Sends as many of the waiting questions as may be under way. */
static void authz_pump(Authz *authz) {
        Call *c, *next;
        uid_t full = (uid_t) -1;
        int r;

        for (c = TAILQ_FIRST(&authz->calls); c && authz->n_in_flight < AUTHZ_IN_FLIGHT_MAX; c = next) {
                next = TAILQ_NEXT(c, calls);
                if (c->state != CALL_QUEUED || c->who.uid == full)
                        continue;
                if (in_flight_of(authz, c->who.uid) >= AUTHZ_IN_FLIGHT_USER_MAX) {
                        full = c->who.uid;
                        continue;
                }
                r = call_ask(c);
                if (r < 0) {
                        (void) sd_bus_reply_method_errno(c->m, r, NULL);
                        call_free(c);
                        continue;
                }
                c->state = CALL_ASKED;
                authz->n_in_flight++;
        }
}
