/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* calls/caller.c on a connection whose other end, the bus, is this test. */

#include <glib.h>
#include <sys/socket.h>

#include "calls/caller.h"

#define CALLS 100
#define QUESTIONS_MAX 16 /* as in calls/caller.c */
#define HELD_MAX 64 /* likewise */
#define LONG 7000 /* bytes: few such calls of a connection are held */
#define MANY 1200 /* connections: if all have long calls held, that would be 80 MiB */

typedef struct Fixture {
        sd_bus *bus, *broker;
        Log log;
        unsigned n_leases;
        Callers *callers;
        /* The questions that the broker has asked, in their order, and how many of them were answered. */
        sd_bus_message *questions[2 * CALLS];
        bool no_answers; /* so questions need not be kept; they are asked again and again */
        unsigned n_questions, n_answered;
        unsigned n_served, n_gone, n_refused, n_errors;
} Fixture;

/* The calls of sd_bus_enqueue_for_read(), from 1, that fail: from this one, so many. */
static unsigned n_enqueued, fail_from, fail_count;

int __real_sd_bus_enqueue_for_read(sd_bus *bus, sd_bus_message *m);
int __wrap_sd_bus_enqueue_for_read(sd_bus *bus, sd_bus_message *m);

int __wrap_sd_bus_enqueue_for_read(sd_bus *bus, sd_bus_message *m) {
        n_enqueued++;
        return n_enqueued >= fail_from && n_enqueued - fail_from < fail_count ? -ENOBUFS
                                                                              : __real_sd_bus_enqueue_for_read(bus, m);
}

static int question_came(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fixture *f = userdata;

        f->n_errors += sd_bus_message_is_method_error(m, NULL) > 0;
        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus", "GetConnectionCredentials") <= 0)
                return 0;
        if (f->no_answers)
                return 1;
        g_assert_cmpuint(f->n_questions, <, G_N_ELEMENTS(f->questions));
        f->questions[f->n_questions++] = sd_bus_message_ref(m);
        return 1;
}

/* Sender :1.N has user 1000 + N. */
static int serve(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fixture *f = userdata;
        const Identity *who = callers_find(f->callers, m);

        g_assert_nonnull(who);
        g_assert_cmpint(who->uid, ==, 1000 + atoi(sd_bus_message_get_sender(m) + strlen(":1.")));
        f->n_served++;
        return 1;
}

static void gone(const char *sender, void *userdata) {
        ((Fixture *) userdata)->n_gone++;
}

static void refused(sd_bus_message *call, void *userdata) {
        ((Fixture *) userdata)->n_refused++;
}

/* Let both ends do what there is to do. */
static void process(Fixture *f) {
        int r, k;

        do {
                r = sd_bus_process(f->broker, NULL);
                k = sd_bus_process(f->bus, NULL);
                g_assert_cmpint(r, >=, 0);
                g_assert_cmpint(k, >=, 0);
        } while (r > 0 || k > 0);
}

static void setup(Fixture *f, gconstpointer unused) {
        sd_id128_t id;
        int fds[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
        g_assert_cmpint(sd_id128_randomize(&id), >=, 0);
        g_assert_cmpint(sd_bus_new(&f->bus), >=, 0);
        g_assert_cmpint(sd_bus_set_fd(f->bus, fds[0], fds[0]), >=, 0);
        g_assert_cmpint(sd_bus_set_server(f->bus, true, id), >=, 0);
        g_assert_cmpint(sd_bus_start(f->bus), >=, 0);
        g_assert_cmpint(sd_bus_new(&f->broker), >=, 0);
        g_assert_cmpint(sd_bus_set_fd(f->broker, fds[1], fds[1]), >=, 0);
        g_assert_cmpint(sd_bus_start(f->broker), >=, 0);
        while (sd_bus_is_ready(f->bus) == 0 || sd_bus_is_ready(f->broker) == 0)
                process(f);
        g_assert_cmpint(sd_bus_add_filter(f->bus, NULL, question_came, f), >=, 0);
        g_assert_cmpint(sd_bus_add_object(f->broker, NULL, "/org/mshare1", serve, f), >=, 0);
        g_assert_cmpint(callers_new(f->broker, &f->log, &f->n_leases, gone, refused, f, &f->callers), >=, 0);
}

static void teardown(Fixture *f, gconstpointer unused) {
        for (unsigned i = 0; i < f->n_questions; i++)
                sd_bus_message_unref(f->questions[i]);
        callers_free(f->callers);
        sd_bus_close_unref(f->broker);
        sd_bus_close_unref(f->bus);
}

static sd_bus_message *new_call(Fixture *f, const char *sender) {
        sd_bus_message *m;

        g_assert_cmpint(sd_bus_message_new_method_call(f->bus, &m, "org.mshare1", "/org/mshare1", "org.mshare1.Manager",
                                                       "ListRegions"),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_set_sender(m, sender), >=, 0);
        return m;
}

static void send_call(Fixture *f, sd_bus_message *m) {
        uint64_t cookie; /* without it, no answer would be sent */

        g_assert_cmpint(sd_bus_send(f->bus, m, &cookie), >=, 0);
        sd_bus_message_unref(m);
}

static void call_from(Fixture *f, const char *sender) {
        send_call(f, new_call(f, sender));
}

static void long_call_from(Fixture *f, const char *sender, size_t size) {
        g_autofree char *text = g_strnfill(size, 'x');
        sd_bus_message *m = new_call(f, sender);

        g_assert_cmpint(sd_bus_message_append(m, "a{sv}", 1, "key", "s", text), >=, 0);
        send_call(f, m);
}

static void call_from_all(Fixture *f) {
        for (unsigned i = 0; i < CALLS; i++) {
                g_autofree char *sender = g_strdup_printf(":1.%u", i);

                call_from(f, sender);
        }
        process(f);
}

/* Answer the question that has waited longest. */
static void answer(Fixture *f) {
        sd_bus_message *question, *m;
        const char *name;

        g_assert_cmpuint(f->n_answered, <, f->n_questions);
        question = f->questions[f->n_answered++];
        g_assert_cmpint(sd_bus_message_read(question, "s", &name), >=, 0);
        g_assert_cmpint(sd_bus_message_new_method_return(question, &m), >=, 0);
        g_assert_cmpint(
                sd_bus_message_append(m, "a{sv}", 1, "UnixUserID", "u", 1000 + (uint32_t) atoi(name + strlen(":1."))),
                >=, 0);
        g_assert_cmpint(sd_bus_send(f->bus, m, NULL), >=, 0);
        sd_bus_message_unref(m);
        process(f);
}

static void answer_error(Fixture *f, const char *error) {
        sd_bus_message *m;

        g_assert_cmpuint(f->n_answered, <, f->n_questions);
        g_assert_cmpint(sd_bus_message_new_method_errorf(f->questions[f->n_answered++], &m, error, "no"), >=, 0);
        g_assert_cmpint(sd_bus_send(f->bus, m, NULL), >=, 0);
        sd_bus_message_unref(m);
        process(f);
}

static void leave(Fixture *f, const char *name) {
        sd_bus_message *m;

        g_assert_cmpint(sd_bus_message_new_signal(f->bus, &m, "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                                  "NameOwnerChanged"),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_set_sender(m, "org.freedesktop.DBus"), >=, 0);
        g_assert_cmpint(sd_bus_message_append(m, "sss", name, name, ""), >=, 0);
        g_assert_cmpint(sd_bus_send(f->bus, m, NULL), >=, 0);
        sd_bus_message_unref(m);
        process(f);
}

static void test_a_crowd_of_callers_is_asked_about_a_few_at_a_time(Fixture *f, gconstpointer unused) {
        call_from_all(f);
        g_assert_cmpuint(f->n_questions, ==, QUESTIONS_MAX);
        g_assert_cmpuint(f->n_served, ==, 0);
        while (f->n_answered < CALLS) {
                answer(f);
                g_assert_cmpuint(f->n_served, ==, f->n_answered);
                g_assert_cmpuint(f->n_questions, ==, MIN(f->n_answered + QUESTIONS_MAX, CALLS));
        }
        g_assert_cmpuint(f->n_refused, ==, 0);
}

static void test_callers_that_leave_make_room_for_others(Fixture *f, gconstpointer unused) {
        call_from_all(f);
        /* One that is asked about, and one that waits. */
        leave(f, ":1.0");
        g_assert_cmpuint(f->n_questions, ==, QUESTIONS_MAX + 1);
        leave(f, ":1.50");
        g_assert_cmpuint(f->n_questions, ==, QUESTIONS_MAX + 1);
        g_assert_cmpuint(f->n_gone, ==, 2);
        while (f->n_answered < f->n_questions)
                answer(f);
        g_assert_cmpuint(f->n_questions, ==, CALLS - 1);
        g_assert_cmpuint(f->n_served, ==, CALLS - 2);
        g_assert_cmpuint(f->n_refused, ==, 0);
}

static void test_a_question_without_an_answer_is_asked_again(Fixture *f, gconstpointer unused) {
        gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

        call_from_all(f);
        /* The bus has dropped these answers. */
        f->n_answered = QUESTIONS_MAX;
        while (f->n_questions == QUESTIONS_MAX && g_get_monotonic_time() < end) {
                g_usleep(20000);
                process(f);
        }
        /* The others come first. */
        while (f->n_answered < f->n_questions)
                answer(f);
        g_assert_cmpuint(f->n_questions, ==, CALLS + QUESTIONS_MAX);
        g_assert_cmpuint(f->n_served, ==, CALLS);
        g_assert_cmpuint(f->n_refused, ==, 0);
}

static void test_calls_of_an_unknown_connection_are_limited(Fixture *f, gconstpointer unused) {
        for (unsigned i = 0; i < HELD_MAX + 10; i++)
                call_from(f, ":1.7");
        process(f);
        g_assert_cmpuint(f->n_refused, ==, 10);
        answer(f);
        g_assert_cmpuint(f->n_served, ==, HELD_MAX);
        /* Not those of one that is known. */
        for (unsigned i = 0; i < HELD_MAX + 10; i++)
                call_from(f, ":1.7");
        process(f);
        g_assert_cmpuint(f->n_refused, ==, 10);
        g_assert_cmpuint(f->n_served, ==, 2 * HELD_MAX + 10);
}

static void test_long_calls_of_unknown_connections_are_not_kept(Fixture *f, gconstpointer unused) {
        unsigned n;

        /* Each alone. */
        long_call_from(f, ":1.1", 1 << 20);
        process(f);
        g_assert_cmpuint(f->n_refused, ==, 1);
        /* Those of one connection. */
        for (unsigned i = 0; i < HELD_MAX; i++)
                long_call_from(f, ":1.2", LONG);
        process(f);
        n = f->n_refused;
        g_assert_cmpuint(n, >=, 1 + HELD_MAX - 16);
        g_assert_cmpuint(f->n_errors, ==, n);
        /* Another one has its own part. */
        call_from(f, ":1.3");
        process(f);
        g_assert_cmpuint(f->n_refused, ==, n);
        while (f->n_answered < f->n_questions)
                answer(f);
        g_assert_cmpuint(f->n_served, ==, HELD_MAX - (n - 1) + 1);
        /* What was held is given back. */
        for (unsigned i = 0; i < 3; i++)
                long_call_from(f, ":1.4", LONG);
        process(f);
        g_assert_cmpuint(f->n_refused, ==, n);
}

static void test_all_held_calls_have_a_limit(Fixture *f, gconstpointer unused) {
        gint64 start = g_get_monotonic_time();

        if (g_getenv("MSHARE_VALGRIND")) {
                g_test_skip("thousands of calls are too many for valgrind");
                return;
        }
        f->no_answers = true;
        for (unsigned i = 0; i < MANY; i++) {
                g_autofree char *sender = g_strdup_printf(":1.%u", i);

                for (unsigned k = 0; k < 9; k++)
                        long_call_from(f, sender, LONG);
                process(f);
                /* No connection is refused because of the first ones alone. Without an answer, that ends after 16 s. */
                if (i < 500 && g_get_monotonic_time() - start < 10 * G_USEC_PER_SEC)
                        g_assert_cmpuint(f->n_refused, ==, 0);
        }
        g_assert_cmpuint(f->n_refused, >=, 9 * MANY - (64 << 20) / (LONG + 1024));
        /* A short call of the last one still finds room. */
        call_from(f, ":1.99999");
}

static void test_descriptors_of_an_unknown_connection_are_limited(Fixture *f, gconstpointer unused) {
        for (unsigned i = 0; i < 5; i++) {
                sd_bus_message *m = new_call(f, ":1.8");

                for (unsigned k = 0; k <= (i == 0); k++)
                        g_assert_cmpint(sd_bus_message_append(m, "h", 0), >=, 0);
                send_call(f, m);
        }
        process(f);
        /* The call with two, and all but the first one with one. */
        g_assert_cmpuint(f->n_refused, ==, 4);
        call_from(f, ":1.8");
        answer(f);
        g_assert_cmpuint(f->n_served, ==, 2);
        g_assert_cmpuint(f->n_refused, ==, 4);
}

static void test_a_held_call_is_dispatched_or_refused(Fixture *f, gconstpointer unused) {
        unsigned n = 0;

        for (unsigned from = 1; from <= 4; from++)
                for (unsigned count = 1; count <= 4; count++) {
                        g_autofree char *sender = g_strdup_printf(":1.%u", from * 10 + count);

                        f->n_served = f->n_refused = f->n_errors = 0;
                        for (unsigned i = 0; i < 4; i++)
                                call_from(f, sender);
                        process(f);
                        n_enqueued = 0;
                        fail_from = from;
                        fail_count = count;
                        answer(f);
                        fail_count = 0;
                        g_assert_cmpuint(f->n_refused, ==, MIN(count, 4 - (from - 1)));
                        g_assert_cmpuint(f->n_errors, ==, f->n_refused);
                        g_assert_cmpuint(f->n_served, ==, 4 - f->n_refused);
                        /* Later calls are not stuck behind them. */
                        n = f->n_served;
                        call_from(f, sender);
                        process(f);
                        while (f->n_answered < f->n_questions)
                                answer(f);
                        g_assert_cmpuint(f->n_served, ==, n + 1);
                }
}

static int look_for(Fixture *f, const char *name) {
        int r = callers_look_for(f->callers, name);

        process(f);
        return r;
}

/* The broker asks about that connection, and the bus answers with this error, or without one if it is NULL. */
static void look_for_with_answer(Fixture *f, const char *name, bool known, const char *error) {
        g_assert_cmpint(look_for(f, name), ==, known);
        if (error)
                answer_error(f, error);
        else
                answer(f);
}

static void test_a_connection_that_is_looked_for_is_not_forgotten(Fixture *f, gconstpointer unused) {
        /* The bus does not say whether it exists, but later that it has left. */
        look_for_with_answer(f, ":1.5", false, SD_BUS_ERROR_LIMITS_EXCEEDED);
        g_assert_cmpuint(f->n_gone, ==, 0);
        leave(f, ":1.5");
        g_assert_cmpuint(f->n_gone, ==, 1);
        /* Neither is said, so the next question finds out. Meanwhile its calls are refused. */
        g_assert_cmpint(look_for(f, ":1.6"), ==, 0);
        call_from(f, ":1.6");
        process(f);
        answer_error(f, SD_BUS_ERROR_LIMITS_EXCEEDED);
        g_assert_cmpuint(f->n_refused, ==, 1);
        look_for_with_answer(f, ":1.6", false, SD_BUS_ERROR_NAME_HAS_NO_OWNER);
        g_assert_cmpuint(f->n_gone, ==, 2);
        /* The same of a connection that was identified. What is known about it stays. */
        call_from(f, ":1.7");
        process(f);
        answer(f);
        g_assert_cmpuint(f->n_served, ==, 1);
        look_for_with_answer(f, ":1.7", true, SD_BUS_ERROR_LIMITS_EXCEEDED);
        look_for_with_answer(f, ":1.7", true, NULL);
        call_from(f, ":1.7");
        process(f);
        g_assert_cmpuint(f->n_served, ==, 2);
        look_for_with_answer(f, ":1.7", true, SD_BUS_ERROR_NAME_HAS_NO_OWNER);
        g_assert_cmpuint(f->n_gone, ==, 3);
        g_assert_cmpuint(f->n_answered, ==, f->n_questions);
        /* One question at a time. */
        g_assert_cmpint(look_for(f, ":1.9"), ==, 0);
        look_for_with_answer(f, ":1.9", false, NULL);
        g_assert_cmpuint(f->n_questions, ==, f->n_answered);
        g_assert_cmpint(look_for(f, ":1.9"), ==, 1);
}

static void add(const char *path, void (*test)(Fixture *f, gconstpointer unused)) {
        g_test_add(path, Fixture, NULL, setup, test, teardown);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        add("/callers/a-crowd-is-asked-about-a-few-at-a-time", test_a_crowd_of_callers_is_asked_about_a_few_at_a_time);
        add("/callers/those-that-leave-make-room", test_callers_that_leave_make_room_for_others);
        add("/callers/a-question-without-an-answer-is-asked-again", test_a_question_without_an_answer_is_asked_again);
        add("/callers/calls-of-an-unknown-connection-are-limited", test_calls_of_an_unknown_connection_are_limited);
        add("/callers/long-calls-of-unknown-connections-are-not-kept",
            test_long_calls_of_unknown_connections_are_not_kept);
        add("/callers/all-held-calls-have-a-limit", test_all_held_calls_have_a_limit);
        add("/callers/descriptors-of-an-unknown-connection-are-limited",
            test_descriptors_of_an_unknown_connection_are_limited);
        add("/callers/a-held-call-is-dispatched-or-refused", test_a_held_call_is_dispatched_or_refused);
        add("/callers/a-connection-that-is-looked-for-is-not-forgotten",
            test_a_connection_that_is_looked_for_is_not_forgotten);
        return g_test_run();
}
