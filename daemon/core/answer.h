/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/region.h"
#include "calls/authz.h"

/*
 * How the core answers calls. The functions are in bus/answer.c, so the core does not know the form of an answer on the bus.
 * None of them blocks. An answer that cannot be sent is dropped: its caller has gone.
 */

/* Answers at once, from the handler. 1, or negative errno with the call not answered. */
int call_answer(Call *call);
/* The same with the window and the lease, and with the region's file unless that is -1. Borrows the descriptors. */
int call_answer_lease(Call *call, const RegionRecord *record, int lease, int file);

/* A call that is answered after its handler has returned. */
typedef struct sd_bus_message Answer;

/* Keeps what is needed to answer the call later. Never NULL. */
Answer *answer_later(Call *call);
/* Drops the call without an answer. Takes NULL, and returns NULL. */
Answer *answer_drop(Answer *answer);
/* These answer the call and free the answer. They take NULL. */
void answer_done(Answer *answer);
void answer_created(Answer *answer, const Region *region);
void answer_error(Manager *manager, Answer *answer, const sd_bus_error *error);
