/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <stddef.h>

#include "model.h"

/* Faults that can be put into the protocol; the list is in scenarios.c. */
typedef enum MutationId {
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
} MutationId;

static inline bool mutant(MutationId id) {
        return model_mutation == (int) id;
}

/* cpu.c: what a CPU does by itself, and when an IPI arrives */
Slot slot_of(Cpu cpu, unsigned i);
void slot_set(Cpu *cpu, unsigned i, Slot slot);
void cpu_successors(Search *search, const State *s);
unsigned ipi_of(Cpu cpu, unsigned actor);
void ipi_set(Cpu *cpu, unsigned actor, unsigned what);
bool has_window(const State *s, unsigned mm);
/* One more generation of @mm: all that was up to date is one behind. */
void raise_generation(State *s, unsigned mm);

/* actors.c: flushes, and who changes the host's tables */
void actor_successors(Search *search, const State *s);
void begin_flush_mm(Actor *actor, unsigned mm, bool partial, bool freed);
void begin_flush_host(Actor *actor, bool partial, bool freed);
typedef enum Gone { GONE_PAGE, GONE_WRITING, GONE_LOWER, GONE_DONOR_PUD, GONE_HOST_PUD } Gone;
/* Return: false after a violation, which has been reported. */
bool bury(Search *search, State *s, Gone gone, unsigned mm);

/* windows.c: attach, donation, detach */
void window_successors(Search *search, const State *s, unsigned mm);
bool shares_nothing(const State *s, unsigned mm);
