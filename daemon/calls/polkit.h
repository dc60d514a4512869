/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "basic/log.h"
#include "calls/context.h"
#include "policy/places.h"

/*
 * Questions to polkit: each is one asynchronous CheckAuthorization call.
 *
 * The number of questions under way is limited, because the bus limits the pending replies of a connection. Users share it: see
 * places.h. If polkit is missing, fails or does not answer in time, the answer is no.
 *
 * A question that is cancelled counts until polkit has answered it, because the bus counts it, too. If polkit has not answered
 * POLKIT_GRACE_USEC later, the question is lost. If all places of a user, or all places, are lost, polkit hangs.
 */
typedef struct Question Question;

#define POLKIT_GRACE_USEC (5 * USEC_PER_SEC)

/* Counts since the start of the broker. A question that is over is also in one of the other counts. */
typedef struct PolkitCounts {
        uint64_t asked; /* questions */
        uint64_t granted, denied;
        uint64_t failed; /* polkit was missing, or answered with an error */
        uint64_t timed_out, cancelled;
        uint32_t waiting; /* calls that wait now, for an answer or for a place to ask */
        uint64_t wait_usec; /* of all calls that have waited */
} PolkitCounts;

typedef struct Polkit {
        sd_bus *bus;
        Log *log;
        Places places;
        PolkitCounts *counts;
        uint64_t last_id;
        LIST_HEAD(QuestionList, Question) questions;
        void (*place_freed)(void *userdata); /* called last, after an answer or a timeout */
        void *userdata;
} Polkit;

/*
 * Called when a question is over. Unless polkit has granted the action, verdict says why not, and the function may take its
 * content.
 */
typedef void (*QuestionDone)(void *userdata, bool granted, sd_bus_error *verdict);

/* Borrows all arguments but the context itself. */
void polkit_init(Polkit *polkit, const CallContext *context, PolkitCounts *counts, void (*place_freed)(void *userdata),
                 void *userdata);
/* Forgets all questions. Calls no QuestionDone and cancels nothing: polkit notices that this connection has left. */
void polkit_done(Polkit *polkit);

/* 1: there is a place for a question about this call; 0: not now; -EHOSTDOWN: polkit hangs. */
int polkit_has_place(const Polkit *polkit, sd_bus_message *call, uid_t uid);

typedef struct PolkitQuery {
        sd_bus_message *call;
        uid_t uid; /* of the sender of the call */
        const char *action; /* borrowed until the question is over */
        char *const *details; /* a NULL-terminated list of alternating keys and values */
} PolkitQuery;

/* Asks whether the sender of the call may do the action. Does not block. 0 or negative errno. */
int polkit_ask(Polkit *polkit, const PolkitQuery *query, QuestionDone done, void *userdata, Question **ret);

/* Cancels a question whose answer is no longer needed, and closes the dialog. QuestionDone is not called. */
void question_cancel(Question *question);

/* Sets the verdict "ACTION needs polkit's permission, and WHY". */
void polkit_refuse(sd_bus_error *verdict, const char *action, const char *why);
