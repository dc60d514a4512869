/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/limits.h"

/*
 * Shares out the questions that may be under way at polkit. There are PLACES_MAX places. Dialogs, that is questions that a
 * person may have to answer, take at most PLACES_DIALOGS_MAX of them, so that questions that a rule answers never wait for
 * passwords. A user has at most PLACES_USER_MAX places, of which at most PLACES_USER_DIALOGS_MAX are for dialogs. In both cases
 * a user gets at most as many as all others leave free, so that the first users cannot take all.
 */
#define PLACES_MAX 64
#define PLACES_USER_MAX 16
#define PLACES_DIALOGS_MAX 48
#define PLACES_USER_DIALOGS_MAX 4

typedef struct Places {
        Users *users;
        unsigned n_questions, n_dialogs; /* under way; a dialog is in both */
        unsigned n_lost, n_lost_dialogs; /* those among them that were cancelled and that polkit has not answered */
} Places;

bool places_have_one(const Places *places, uid_t uid, bool dialog);
/* Whether none would be free even if all questions but the lost ones were answered. */
bool places_are_lost(const Places *places, uid_t uid, bool dialog);

/* Takes a place for a question. 0 or -ENOMEM. */
int places_take(Places *places, uid_t uid, bool dialog);
/* Counts a question that has a place as lost. 0 or -ENOMEM. */
int places_lose(Places *places, uid_t uid, bool dialog);
/* Gives back the place of a question that is over. lost: places_lose() has counted it. */
void places_give_back(Places *places, uid_t uid, bool dialog, bool lost);
