/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Sends questions to polkit, cancels them, and turns answers, errors and silence into verdicts. Of a call it knows only the
 * sender.
 */

#include <errno.h>
#include <inttypes.h>

#include "basic/util.h"
#include "calls/polkit.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"

/* The time for an answer. Rules take milliseconds, but a person needs time to enter a password. */
#define TIMEOUT_USEC (25 * USEC_PER_SEC)
#define TIMEOUT_INTERACTIVE_USEC (300 * USEC_PER_SEC)

/* Exists from the sending of the question to its answer, even if it is cancelled. */
struct Question {
        LIST_ENTRY(Question) questions;
        Polkit *polkit;
        QuestionDone done; /* NULL once it is cancelled */
        void *userdata;
        const char *action;
        uid_t uid;
        bool dialog; /* a person may be asked */
        char id[24]; /* for the cancellation */
        sd_bus_slot *slot;
        sd_event_source *timer;
        bool lost; /* cancelled, and polkit has not answered that either */
};

void polkit_init(Polkit *polkit, const CallContext *context, PolkitCounts *counts, void (*place_freed)(void *userdata),
                 void *userdata) {
        *polkit = (Polkit){
                .bus = context->bus,
                .log = context->log,
                .places.users = context->users,
                .counts = counts,
                .place_freed = place_freed,
                .userdata = userdata,
        };
        LIST_INIT(&polkit->questions);
}

static bool allows_dialog(sd_bus_message *call) {
        return sd_bus_message_get_allow_interactive_authorization(call) > 0;
}

static int question_new(Polkit *polkit, const PolkitQuery *query, Question **ret) {
        Question *q;

        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        *q = (Question){
                .polkit = polkit, .action = query->action, .uid = query->uid, .dialog = allows_dialog(query->call)
        };
        (void) snprintf(q->id, sizeof(q->id), "%" PRIu64, ++polkit->last_id);
        if (places_take(&polkit->places, q->uid, q->dialog) < 0) {
                free(q);
                return -ENOMEM;
        }
        LIST_INSERT_HEAD(&polkit->questions, q, questions);
        *ret = q;
        return 0;
}

static void question_free(Question *q) {
        places_give_back(&q->polkit->places, q->uid, q->dialog, q->lost);
        LIST_REMOVE(q, questions);
        sd_event_source_disable_unref(q->timer);
        sd_bus_slot_unref(q->slot);
        free(q);
}

void polkit_done(Polkit *polkit) {
        Question *q;

        while ((q = LIST_FIRST(&polkit->questions)))
                question_free(q);
}

/* Wait for polkit's reply all the same, so that a hung polkit is noticed. */
static void withdraw(Question *q) {
        q->done = NULL;
        (void) sd_bus_call_method_async(q->polkit->bus, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                        "CancelCheckAuthorization", NULL, NULL, "s", q->id);
        (void) sd_event_source_set_time_relative(q->timer, POLKIT_GRACE_USEC);
        (void) sd_event_source_set_enabled(q->timer, SD_EVENT_ONESHOT);
}

void question_cancel(Question *q) {
        q->polkit->counts->cancelled++;
        withdraw(q);
}

int polkit_has_place(const Polkit *polkit, sd_bus_message *call, uid_t uid) {
        bool dialog = allows_dialog(call);

        if (places_are_lost(&polkit->places, uid, dialog))
                return -EHOSTDOWN;
        return places_have_one(&polkit->places, uid, dialog);
}

void polkit_refuse(sd_bus_error *verdict, const char *action, const char *why) {
        (void) sd_bus_error_setf(verdict, SD_BUS_ERROR_ACCESS_DENIED, "%s needs polkit's permission, but %s", action,
                                 why);
}

static void read_error(const Question *q, const sd_bus_error *e, sd_bus_error *verdict) {
        q->polkit->counts->failed++;
        if (sd_bus_error_has_names(e, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                polkit_refuse(verdict, q->action, "there is no polkit on the bus");
        else if (sd_bus_error_has_names(e, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
                polkit_refuse(verdict, q->action, "polkit did not answer in time");
        else
                (void) sd_bus_error_setf(verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "%s needs polkit's permission, but polkit failed: %s", q->action,
                                         e->message ?: e->name);
        if (log_has_room(q->polkit->log, q->uid))
                log_message(q->polkit->log, LOG_NOTICE, "polkit failed to check %s for user %" PRIu32 ": %s", q->action,
                            (uint32_t) q->uid, e->message ?: e->name);
}

/* Whether polkit has granted the action; otherwise sets the verdict. */
static bool read_answer(const Question *q, sd_bus_message *answer, sd_bus_error *verdict) {
        const sd_bus_error *e = sd_bus_message_get_error(answer);
        int authorized, challenge, r;

        if (e) {
                read_error(q, e, verdict);
                return false;
        }
        r = sd_bus_message_enter_container(answer, 'r', "bba{ss}");
        if (r > 0)
                r = sd_bus_message_read(answer, "bb", &authorized, &challenge);
        if (r <= 0) {
                q->polkit->counts->failed++;
                polkit_refuse(verdict, q->action, "polkit's answer is not valid");
                return false;
        }
        if (authorized) {
                q->polkit->counts->granted++;
                return true;
        }
        q->polkit->counts->denied++;
        if (challenge && !q->dialog)
                (void) sd_bus_error_setf(
                        verdict, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                        "%s needs authentication, but the call did not allow interactive authorization", q->action);
        else
                (void) sd_bus_error_setf(verdict, SD_BUS_ERROR_ACCESS_DENIED,
                                         "polkit does not permit %s for user %" PRIu32, q->action, (uint32_t) q->uid);
        return false;
}

static int on_answer(sd_bus_message *answer, void *userdata, sd_bus_error *unused) {
        _cleanup_(sd_bus_error_free) sd_bus_error verdict = SD_BUS_ERROR_NULL;
        Question *q = userdata;
        Polkit *polkit = q->polkit;
        QuestionDone done = q->done;
        void *waiting = q->userdata;
        bool granted = done && read_answer(q, answer, &verdict);

        question_free(q);
        if (done)
                done(waiting, granted, &verdict);
        polkit->place_freed(polkit->userdata);
        return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_(sd_bus_error_free) sd_bus_error verdict = SD_BUS_ERROR_NULL;
        Question *q = userdata;
        Polkit *polkit = q->polkit;
        QuestionDone done = q->done;

        if (done) {
                if (log_has_room(polkit->log, q->uid))
                        log_message(polkit->log, LOG_NOTICE, "polkit did not answer in time about %s for user %" PRIu32,
                                    q->action, (uint32_t) q->uid);
                polkit_refuse(&verdict, q->action, "polkit did not answer in time");
                polkit->counts->timed_out++;
                withdraw(q);
                done(q->userdata, false, &verdict);
        } else if (places_lose(&polkit->places, q->uid, q->dialog) >= 0)
                q->lost = true;
        polkit->place_freed(polkit->userdata);
        return 0;
}

static int append_details(sd_bus_message *m, char *const *details) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{ss}");
        for (; r >= 0 && *details; details += 2)
                r = sd_bus_message_append(m, "{ss}", details[0], details[1]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int send_question(Question *q, const PolkitQuery *query) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = q->polkit->bus;
        int r;

        r = sd_event_add_time_relative(sd_bus_get_event(bus), &q->timer, CLOCK_MONOTONIC,
                                       q->dialog ? TIMEOUT_INTERACTIVE_USEC : TIMEOUT_USEC, 0, on_time, q);
        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                                   "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                          sd_bus_message_get_sender(query->call), q->action);
        if (r >= 0)
                r = append_details(m, query->details);
        if (r >= 0)
                r = sd_bus_message_append(m, "us", (uint32_t) q->dialog, q->id);
        /* No timeout for the call itself: the bus would still count it as pending. */
        return r < 0 ? r : sd_bus_call_async(bus, &q->slot, m, on_answer, q, UINT64_MAX);
}

int polkit_ask(Polkit *polkit, const PolkitQuery *query, QuestionDone done, void *userdata, Question **ret) {
        Question *q;
        int r;

        r = question_new(polkit, query, &q);
        if (r < 0)
                return r;
        r = send_question(q, query);
        if (r < 0) {
                question_free(q);
                return r;
        }
        q->done = done;
        q->userdata = userdata;
        polkit->counts->asked++;
        *ret = q;
        return 0;
}
