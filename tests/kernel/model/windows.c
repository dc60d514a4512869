// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attach, donation and detach, modelled on mm/mshare.c and mm/mshare_donate.c.
 * A mutation beside a step leaves the step out or moves it to a wrong place.
 */
#include "tlb.h"

enum {
        W_IDLE,
        W_NR,
        W_LIST,
        W_WINDOW,
        W_ENTER,
        W_GEN,
        W_COPY,
        W_HAND_OVER,
        W_MOVED,
        W_ENTRIES,
        W_LATE,
        W_LAST_FLUSH,
        W_FREE_PUD,
        W_DONATED,
        W_ATTACHED,
        W_FLUSHED,
        W_OFF_LIST,
};

static void entry_set(State *s, unsigned mm, unsigned entry) {
        s->world.entries &= ~(3U << (2 * mm));
        s->world.entries |= entry << (2 * mm);
}

static void list_add(State *s, unsigned mm) {
        s->world.list |= mm << (2 * s->world.list_len);
        s->world.list_len++;
}

static void list_del(State *s, unsigned mm) {
        unsigned i, n = 0, list = 0;

        for (i = 0; i < s->world.list_len; i++) {
                unsigned m = s->world.list >> (2 * i) & 3;

                if (m != mm)
                        list |= m << (2 * n++);
        }
        s->world.list = list;
        s->world.list_len = n;
}

bool shares_nothing(const State *s, unsigned mm) {
        const Actor *w = &s->actor[W0 + mm];

        return w->pc == W_IDLE && w->sub == SUB_NONE;
}

static void publish_nr(State *s) {
        s->world.nr_sharers++;
}

void window_successors(Search *search, const State *s, unsigned mm) {
        const unsigned a = W0 + mm;
        const bool donates = model_scenario->donate && mm == 1 && !s->world.ready;
        State next = *s;
        Actor *w = &next.actor[a];
        const char *what = "";

        switch (w->pc) {
        case W_IDLE:
                if (!w->left || next.world.torn_down || (!donates && (model_scenario->donate && !next.world.ready)))
                        return;
                w->left--;
                if (donates)
                        next.world.host_lock = 1;
                if (mutant(M_ENTRIES_FIRST) && !donates)
                        entry_set(&next, mm, ENTRY_HOST);
                if (mutant(M_HAND_OVER_FIRST) && donates) {
                        if (next.world.rmap_lock)
                                return;
                        next.world.host_pud = 1;
                        next.world.owner = OWNER_HOST;
                }
                w->pc = W_NR;
                what = "attaches mm";
                break;
        case W_NR:
                if (!mutant(M_NR_AFTER_ENTRIES))
                        publish_nr(&next);
                w->pc = W_LIST;
                what = "counts sharer";
                break;
        case W_LIST:
                if (!mutant(M_LIST_AFTER_ENTRIES))
                        list_add(&next, mm);
                w->pc = W_WINDOW;
                what = "on the region's list: mm";
                break;
        case W_WINDOW:
                if (!mutant(M_WINDOW_AFTER_IPI))
                        next.world.windows |= 1U << mm;
                w->pc = W_ENTER;
                if (mutant(M_GEN_BEFORE_IPI))
                        begin_flush_mm(w, mm, false, false);
                what = "has a window: mm";
                break;
        case W_ENTER:
                if (!mutant(M_NO_IPI_AT_ATTACH)) {
                        w->kind = KIND_ENTER;
                        w->mm = mm;
                        w->sub = SUB_MASK;
                }
                w->pc = W_GEN;
                what = "tells CPUs that have loaded mm";
                break;
        case W_GEN:
                next.world.windows |= 1U << mm;
                if (!mutant(M_NO_GEN_AT_ATTACH) && !mutant(M_GEN_BEFORE_IPI))
                        begin_flush_mm(w, mm, false, false);
                w->pc = donates && !mutant(M_HAND_OVER_FIRST) ? W_COPY : W_ENTRIES;
                what = "flushes mm";
                break;
        case W_COPY:
                /* The host's lock is held: only the page may change. */
                next.world.host_pud = 1;
                w->pc = W_HAND_OVER;
                what = "gives its lower table: mm";
                break;
        case W_HAND_OVER:
                if (next.world.rmap_lock)
                        return;
                next.world.rmap_lock = 1;
                if (next.world.batched & 1U << OWNER_DONOR && !mutant(M_NO_PENDING_AT_HAND_OVER)) {
                        begin_flush_mm(w, mm, false, false);
                        next.world.batched &= ~(1U << OWNER_DONOR);
                }
                w->pc = W_MOVED;
                what = "hands over: mm";
                break;
        case W_MOVED:
                next.world.owner = OWNER_HOST;
                next.world.rmap_lock = 0;
                w->pc = W_ENTRIES;
                what = "has handed over: mm";
                break;
        case W_ENTRIES:
                entry_set(&next, mm, ENTRY_HOST);
                w->pc = donates ? W_LAST_FLUSH : W_ATTACHED;
                if (mutant(M_NR_AFTER_ENTRIES) || mutant(M_LIST_AFTER_ENTRIES))
                        w->pc = W_LATE;
                what = "sets the entries of mm";
                break;
        case W_LATE:
                if (mutant(M_NR_AFTER_ENTRIES))
                        publish_nr(&next);
                else
                        list_add(&next, mm);
                w->pc = donates ? W_LAST_FLUSH : W_ATTACHED;
                what = "late: mm";
                break;
        case W_LAST_FLUSH:
                if (!mutant(M_NO_LAST_FLUSH))
                        begin_flush_mm(w, mm, false, !mutant(M_LAZY_AT_DONATION));
                w->pc = W_FREE_PUD;
                what = "flushes the last time: mm";
                break;
        case W_FREE_PUD:
                /* The mmu_gather's own flush: of one address, not the page's. */
                begin_flush_mm(w, mm, true, !mutant(M_LAZY_AT_DONATION));
                w->pc = W_DONATED;
                what = "frees its PUD table: mm";
                break;
        case W_DONATED:
                if (!bury(search, &next, GONE_DONOR_PUD, mm))
                        return;
                if (model_scenario->read_only && !bury(search, &next, GONE_WRITING, mm))
                        return;
                next.world.donor_pud = 0;
                next.world.host_lock = 0;
                next.world.ready = 1;
                w->pc = W_ATTACHED;
                what = "has donated: mm";
                break;
        case W_ATTACHED:
                entry_set(&next, mm, ENTRY_NONE);
                next.world.windows &= ~(1U << mm);
                if (mutant(M_LIST_BEFORE_FLUSH_AT_DETACH)) {
                        list_del(&next, mm);
                        next.world.nr_sharers--;
                }
                if (!mutant(M_NO_FLUSH_AT_DETACH))
                        begin_flush_mm(w, mm, false, !mutant(M_LAZY_AT_DETACH));
                w->pc = W_FLUSHED;
                what = "clears the entries of mm";
                break;
        case W_FLUSHED:
                if (!mutant(M_LIST_BEFORE_FLUSH_AT_DETACH))
                        list_del(&next, mm);
                w->pc = W_OFF_LIST;
                what = "off the region's list: mm";
                break;
        case W_OFF_LIST:
                if (!mutant(M_LIST_BEFORE_FLUSH_AT_DETACH))
                        next.world.nr_sharers--;
                w->pc = W_IDLE;
                what = "counts no more: mm";
                break;
        }
        search_found(search, &next, what, -1, mm);
}

void model_begin(State *s, const Scenario *scenario) {
        unsigned i;

        for (i = 0; i < scenario->cpus; i++) {
                s->cpu[i].loaded = INIT;
                slot_set(&s->cpu[i], 0, (Slot){ .ctx = INIT + 1 });
        }
        s->actor[F].left = scenario->flushes;
        s->actor[U].left = scenario->unmapper;
        s->actor[W0].left = scenario->cycles[0];
        s->actor[W1].left = scenario->cycles[1];
        s->world.pte = 1;
        if (scenario->donate) {
                s->world.owner = OWNER_DONOR;
                s->world.donor_pud = 1;
                entry_set(s, 1, ENTRY_DONOR);
        } else {
                s->world.ready = 1;
                s->world.host_pud = 1;
                /* mm 0 is a sharer already; attaching it costs no state. */
                s->world.nr_sharers = 1;
                list_add(s, 0);
                s->world.windows = 1;
                entry_set(s, 0, ENTRY_HOST);
                s->actor[W0].pc = W_ATTACHED;
                if (scenario->both) {
                        s->world.nr_sharers = 2;
                        list_add(s, 1);
                        s->world.windows = 3;
                        entry_set(s, 1, ENTRY_HOST);
                        s->actor[W1].pc = W_ATTACHED;
                }
        }
}
