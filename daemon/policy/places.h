/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/limits.h"

/*
 * Divides the questions that polkit may be asked at a time. There are PLACES_MAX places, of which dialogs, that is
 * questions a person may have to answer, take PLACES_DIALOGS_MAX at most: what a rule answers at once never waits for a password.
 * A user has PLACES_USER_MAX of them, PLACES_USER_DIALOGS_MAX for dialogs, and in both cases at most as many as are left over
 * by all others: so the first users that come cannot take all.
 */
#define PLACES_MAX 64
#define PLACES_USER_MAX 16
#define PLACES_DIALOGS_MAX 48
#define PLACES_USER_DIALOGS_MAX 4

typedef struct Places {
        Users *users;
        unsigned n_questions, n_dialogs; /* under way; a dialog is in both */
        unsigned n_lost, n_lost_dialogs; /* cancelled questions among them that polkit has not answered either */
} Places;

bool places_have_one(const Places *places, uid_t uid, bool dialog);
/* Whether there would be none even if all questions but the lost ones were answered. */
bool places_are_lost(const Places *places, uid_t uid, bool dialog);

/* 0 or -ENOMEM. */
int places_take(Places *places, uid_t uid, bool dialog);
int places_lose(Places *places, uid_t uid, bool dialog);
void places_give_back(Places *places, uid_t uid, bool dialog, bool lost);
