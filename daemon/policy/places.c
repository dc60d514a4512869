/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Shares out between users the questions that may be under way at polkit. It only counts, and sends no questions. */

#include <errno.h>

#include "policy/places.h"

static bool is_full(uint64_t mine, uint64_t all, uint64_t user_max, uint64_t max) {
        return mine >= user_max || !share_is_left(mine, all - mine, max);
}

bool places_have_one(const Places *p, uid_t uid, bool dialog) {
        if (is_full(users_count(p->users, uid, COUNT_USER_QUESTIONS), p->n_questions, PLACES_USER_MAX, PLACES_MAX))
                return false;
        return !dialog || !is_full(users_count(p->users, uid, COUNT_USER_DIALOGS), p->n_dialogs,
                                   PLACES_USER_DIALOGS_MAX, PLACES_DIALOGS_MAX);
}

bool places_are_lost(const Places *p, uid_t uid, bool dialog) {
        if (is_full(users_count(p->users, uid, COUNT_USER_LOST), p->n_lost, PLACES_USER_MAX, PLACES_MAX))
                return true;
        return dialog && is_full(users_count(p->users, uid, COUNT_USER_LOST_DIALOGS), p->n_lost_dialogs,
                                 PLACES_USER_DIALOGS_MAX, PLACES_DIALOGS_MAX);
}

static int charge(Places *p, uid_t uid, Limit all, Limit dialogs, bool dialog) {
        int r;

        r = users_charge_forced(p->users, uid, all, 1);
        if (r < 0 || !dialog)
                return r;
        r = users_charge_forced(p->users, uid, dialogs, 1);
        if (r < 0)
                users_discharge(p->users, uid, all, 1);
        return r;
}

int places_take(Places *p, uid_t uid, bool dialog) {
        int r;

        r = charge(p, uid, COUNT_USER_QUESTIONS, COUNT_USER_DIALOGS, dialog);
        if (r < 0)
                return r;
        p->n_questions++;
        p->n_dialogs += dialog;
        return 0;
}

int places_lose(Places *p, uid_t uid, bool dialog) {
        int r;

        r = charge(p, uid, COUNT_USER_LOST, COUNT_USER_LOST_DIALOGS, dialog);
        if (r < 0)
                return r;
        p->n_lost++;
        p->n_lost_dialogs += dialog;
        return 0;
}

void places_give_back(Places *p, uid_t uid, bool dialog, bool lost) {
        users_discharge(p->users, uid, COUNT_USER_QUESTIONS, 1);
        p->n_questions--;
        if (dialog) {
                users_discharge(p->users, uid, COUNT_USER_DIALOGS, 1);
                p->n_dialogs--;
        }
        if (!lost)
                return;
        users_discharge(p->users, uid, COUNT_USER_LOST, 1);
        p->n_lost--;
        if (dialog) {
                users_discharge(p->users, uid, COUNT_USER_LOST_DIALOGS, 1);
                p->n_lost_dialogs--;
        }
}
