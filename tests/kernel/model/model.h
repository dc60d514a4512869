/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * The state of the modelled machine. It is compared and hashed byte for byte,
 * so every unused bit is 0. What belongs to one CPU lies in one word: CPUs are
 * interchangeable, and the search sorts them.
 */

enum {
        MAX_CPUS = 3,
        MAX_SLOTS = 3,
        MAX_MMS = 3,
        INIT = 3, /* init_mm, where an mm is named */
};

/* The actors: they change page tables and wait for CPUs. */
typedef enum ActorId {
        F, /* changes the host's entries: reclaim, munmap */
        W0, /* attaches and detaches mm 0 */
        W1, /* the same for mm 1, which may be the donor */
        U, /* an munmap() that meets an entry reclaim has just cleared */
        N_ACTORS,
} ActorId;

/* What a CPU has under one PCID. Below the leaf, what it has of upper levels. */
typedef enum Leaf {
        LEAF_NONE,
        LEAF_RO,
        LEAF_RW,
        LEAF_DEAD, /* something that no process may use any more */
} Leaf;

typedef union Slot {
        uint16_t raw;
        struct {
                uint16_t ctx : 3; /* whose it is, plus 1; 0: of none */
                uint16_t behind : 3; /* generations behind the mm's */
                uint16_t leaf : 2;
                uint16_t donor_pud : 1; /* the donor's own PUD table is cached */
                uint16_t host_pud : 1; /* the host's is */
                uint16_t lower : 1; /* the table below is */
                uint16_t lower_rw : 1; /* through a writable entry */
                uint16_t window : 1; /* its bit in mshare_asids */
                uint16_t unused : 3; /* 0, or it would be bits of the next slot */
        };
} Slot;

enum { SLOT_BITS = 13, SLOT_SHIFT = 25 };

/* What switch_mm_irqs_off() has done; interrupts are off but in the first. */
enum { SWITCH_IDLE, SWITCH_IN_MASK, SWITCH_IN_REGION, SWITCH_GEN_READ };

/* A CPU and an actor's IPI. */
enum { IPI_NONE, IPI_MAYBE, IPI_SENT };

typedef union Cpu {
        uint64_t raw;
        struct {
                uint64_t loaded : 2;
                uint64_t asid : 2;
                uint64_t lazy : 1;
                uint64_t sw : 2;
                uint64_t next : 2;
                uint64_t next_behind : 3; /* the generation that was read */
                uint64_t in_region : 1;
                uint64_t in_mm : 3; /* bit m: in mm m's cpumask */
                uint64_t in_batch : 1;
                uint64_t ipi : 8; /* two bits for each actor */
                uint64_t packed : 39; /* the slots, SLOT_BITS each */
        };
} Cpu;

typedef enum IpiKind {
        KIND_MM, /* flush_tlb_func() for one mm */
        KIND_ANY, /* ... for the batch of a process */
        KIND_REGION, /* mshare_flush_cpu() */
        KIND_ENTER, /* mshare_enter_loaded() */
} IpiKind;

/* Where a flush is, before its actor goes on. */
enum { SUB_NONE, SUB_NR, SUB_FIRST, SUB_GEN, SUB_MASK, SUB_WAIT };

typedef struct Actor {
        uint32_t pc : 5;
        uint32_t sub : 3;
        uint32_t kind : 2;
        uint32_t mm : 2;
        uint32_t behind : 3; /* generations since the one it flushes up to */
        uint32_t partial : 1; /* a range that our page is not in */
        uint32_t freed : 1; /* freed_tables */
        uint32_t op : 3;
        uint32_t left : 3; /* operations that it may still begin */
        uint32_t unused : 9;
} Actor;

typedef struct World {
        uint64_t nr_sharers : 2;
        uint64_t list_len : 2;
        uint64_t list : 6; /* two bits for each, the oldest lowest */
        uint64_t windows : 3; /* bit m: on mm m's own list */
        uint64_t entries : 6; /* two bits for each mm, Entry */
        uint64_t pte : 1;
        uint64_t host_pud : 1; /* the host's PUD table points at the lower table */
        uint64_t owner : 1; /* the owner that reverse mapping finds, Owner */
        uint64_t rmap_lock : 1;
        uint64_t host_lock : 1;
        uint64_t ready : 1; /* others may attach */
        uint64_t batched : 2; /* bit owner: tlb_flush_batched */
        uint64_t donor_pud : 1; /* the donor's PUD table exists */
        uint64_t torn_down : 1;
        uint64_t unused : 35;
} World;

typedef enum Entry { ENTRY_NONE, ENTRY_DONOR, ENTRY_HOST } Entry;
typedef enum Owner { OWNER_HOST, OWNER_DONOR } Owner;

typedef struct State {
        Cpu cpu[MAX_CPUS];
        Actor actor[N_ACTORS];
        World world;
} State;

/* What F may do, bits of scenario.ops. */
typedef enum Op { OP_NONE, OP_ZAP, OP_ZAP_TABLE, OP_RANGE, OP_BATCH, N_OPS } Op;

typedef struct Scenario {
        const char *name;
        bool large; /* minutes: only for --long */
        unsigned cpus, slots, mms;
        unsigned ops; /* bits of Op */
        unsigned flushes; /* of F */
        unsigned cycles[2]; /* attaches and detaches of mm 0 and 1 */
        bool both; /* mm 1 is a sharer at the beginning, too */
        bool donate; /* mm 1 makes the region of what it has */
        bool read_only; /* ... for good */
        bool unmapper; /* U takes part */
        /*
         * A flush gives up all PCIDs but the loaded one, as arch_mshare_flush_local()
         * does. Without: those alone that are noted to have had windows, which leaves
         * more behind and needs the note to be right.
         */
        bool all_slots;
} Scenario;

typedef struct Mutation {
        const char *name;
        const char *what;
        const char *scenario; /* in which it has to be found */
        bool redundant; /* ... or must not: something else does it as well */
} Mutation;

/* The interface from the search to the model. */
typedef struct Search Search;
void model_begin(State *s, const Scenario *scenario);
/* What happens by itself, in each state; then its successors. */
void model_settle(State *s);
void model_successors(Search *search, const State *s);
extern const Scenario model_scenarios[];
extern const Mutation model_mutations[];

/* mutation: an index of model_mutations, or -1: as the kernel has it. */
extern const Scenario *model_scenario;
extern int model_mutation;

/* What the model tells the search. The label is made when it is printed. */
void search_found(Search *search, State *s, const char *what, int cpu, int arg);
void search_violation(Search *search, const char *what);

typedef struct SearchResult {
        const char *violation; /* NULL: none */
        unsigned long states;
        unsigned depth;
        bool full; /* no room for more: nothing is proved */
} SearchResult;
SearchResult search_run(const Scenario *scenario, int mutation, unsigned long max_states, bool trace);
