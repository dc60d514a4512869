/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <stddef.h>

#include "model.h"

/* Faults that can be put into the protocol; the list is in scenarios.c. */
enum mutation_id {
        M_NO_GEN_AT_ATTACH,
        M_NO_IPI_AT_ATTACH,
        M_GEN_BEFORE_IPI,
        M_ENTRIES_FIRST,
        M_WINDOW_AFTER_IPI,
        M_LIST_AFTER_ENTRIES,
        M_NR_AFTER_ENTRIES,
        M_NO_ENTER_AT_SWITCH,
        M_ENTER_AFTER_LOAD,
        M_NO_ZEROING,
        M_RANGE_ON_LEAVING,
        M_ALWAYS_LEAVES,
        M_REGION_SPARES_LAZY,
        M_FIRST_SHARER_ONLY,
        M_CPUS_BEFORE_PTE,
        M_NO_FLUSH_AT_DETACH,
        M_LAZY_AT_DETACH,
        M_LIST_BEFORE_FLUSH_AT_DETACH,
        M_BATCH_WITHOUT_CPUS,
        M_NO_BATCH_FLUSH,
        M_HAND_OVER_FIRST,
        M_NO_PENDING_AT_HAND_OVER,
        M_NO_LAST_FLUSH,
        M_LAZY_AT_DONATION,
        M_NO_WINDOW_BIT_AT_SWITCH,
        M_NO_WINDOW_BIT_AT_ATTACH,
        M_WINDOW_BIT_OF_OLD_SLOT,
        M_BITS_WITHOUT_ZEROING,
        M_LOADED_BIT_CLEARED,
        M_BIT_GOES_WITHOUT_FLUSH,
};

static inline bool mutant(enum mutation_id id) { return model_mutation == (int) id; }

/* cpu.c: what a CPU does by itself, and when an IPI arrives */
union slot slot_of(union cpu cpu, unsigned i);
void slot_set(union cpu *cpu, unsigned i, union slot slot);
void cpu_successors(struct search *search, const struct state *s);
unsigned ipi_of(union cpu cpu, unsigned actor);
void ipi_set(union cpu *cpu, unsigned actor, unsigned what);
bool has_window(const struct state *s, unsigned mm);
/* One more generation of @mm: all that was up to date is one behind. */
void raise_generation(struct state *s, unsigned mm);

/* actors.c: flushes, and who changes the host's tables */
void actor_successors(struct search *search, const struct state *s);
void begin_flush_mm(struct actor *actor, unsigned mm, bool partial, bool freed);
void begin_flush_host(struct actor *actor, bool partial, bool freed);
enum gone { GONE_PAGE, GONE_WRITING, GONE_LOWER, GONE_DONOR_PUD, GONE_HOST_PUD };
/* Return: false after a violation, which has been reported. */
bool bury(struct search *search, struct state *s, enum gone gone, unsigned mm);

/* windows.c: attach, donation, detach */
void window_successors(struct search *search, const struct state *s, unsigned mm);
bool shares_nothing(const struct state *s, unsigned mm);
