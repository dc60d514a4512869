/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The answers to calls, as messages. It implements core/answer.h, so that the core does not know messages. It decides nothing,
 * and changes no region.
 */

#include "core/answer.h"
#include "bus/call-counts.h"
#include "calls/kept.h"

int call_answer(Call *call) {
        int r = sd_bus_reply_method_return(call_message(call), NULL);

        return r < 0 ? r : 1;
}

int call_answer_lease(Call *call, const RegionRecord *record, int lease, int file) {
        sd_bus_message *m = call_message(call);
        int r;

        if (file >= 0)
                r = sd_bus_reply_method_return(m, "tthh", record->address, record->length, lease, file);
        else
                r = sd_bus_reply_method_return(m, "tth", record->address, record->length, lease);
        return r < 0 ? r : 1;
}

Answer *answer_later(Call *call) {
        sd_bus_message *m = call_message(call);

        /* Without memory for a copy, keep all of it: the call has succeeded so far. */
        return kept_head(m) ?: sd_bus_message_ref(m);
}

Answer *answer_drop(Answer *answer) {
        return sd_bus_message_unref(answer);
}

void answer_done(Answer *answer) {
        if (answer)
                (void) sd_bus_reply_method_return(answer, NULL);
        answer_drop(answer);
}

void answer_created(Answer *answer, const Region *region) {
        const RegionRecord *record = &region->record;

        if (answer)
                (void) sd_bus_reply_method_return(answer, "ott", region->path, record->address, record->length);
        answer_drop(answer);
}

void answer_error(Manager *m, Answer *answer, const sd_bus_error *error) {
        if (answer) {
                call_counts_error(m, answer);
                (void) sd_bus_reply_method_error(answer, error);
        }
        answer_drop(answer);
}
