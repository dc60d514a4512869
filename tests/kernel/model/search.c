// SPDX-License-Identifier: GPL-2.0-only
/*
 * The search: all states that can be reached, breadth first, so that the first
 * violation found has a shortest way to it.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

struct Search {
        State *states;
        uint32_t *parents;
        uint32_t *table; /* index + 1; open addressing, a power of two */
        unsigned long n, max, mask, current;
        const char *violation;
        unsigned long violated_from;
        bool full;

        /* For the trace: the state whose label is looked for. */
        const State *wanted;
        char label[120];
};

static uint64_t hash(const State *s) {
        const uint64_t *words = (const uint64_t *) s;
        uint64_t h = 0x9e3779b97f4a7c15;
        size_t i;

        for (i = 0; i < sizeof(*s) / sizeof(*words); i++) {
                h ^= words[i];
                h *= 0xff51afd7ed558ccd;
                h ^= h >> 32;
        }
        return h;
}

/* PCIDs of a CPU and CPUs are interchangeable: one order stands for all. */
static void canonicalize(State *s) {
        unsigned i, j, k, n = model_scenario->slots;

        for (i = 0; i < model_scenario->cpus; i++) {
                Cpu *cpu = &s->cpu[i];
                uint64_t slots = cpu->packed, sorted = 0, slot[MAX_SLOTS];
                unsigned order[MAX_SLOTS] = {}, asid = 0;

                for (j = 0; j < n; j++)
                        slot[j] = slots >> (j * SLOT_BITS) & ((1U << SLOT_BITS) - 1);
                for (j = 0; j < n; j++) {
                        for (k = j; k > 0 && slot[order[k - 1]] > slot[j]; k--)
                                order[k] = order[k - 1];
                        order[k] = j;
                }
                for (j = 0; j < n; j++) {
                        sorted |= slot[order[j]] << (j * SLOT_BITS);
                        if (order[j] == cpu->asid)
                                asid = j;
                }
                cpu->packed = sorted;
                cpu->asid = asid;
        }

        for (i = 1; i < model_scenario->cpus; i++)
                for (j = i; j > 0 && s->cpu[j - 1].raw > s->cpu[j].raw; j--) {
                        Cpu cpu = s->cpu[j];

                        s->cpu[j] = s->cpu[j - 1];
                        s->cpu[j - 1] = cpu;
                }
}

/*
 * Twice as many places. Most searches are small, and each state of theirs would touch a page of
 * a large table.
 */
static void grow(Search *search) {
        unsigned long i, slot;

        free(search->table);
        search->mask = 2 * search->mask + 1;
        search->table = calloc(search->mask + 1, sizeof(*search->table));
        if (!search->table)
                err(2, "no memory for a table of %lu states", search->n);
        for (i = 0; i < search->n; i++) {
                for (slot = hash(&search->states[i]) & search->mask; search->table[slot];)
                        slot = (slot + 1) & search->mask;
                search->table[slot] = i + 1;
        }
}

void search_found(Search *search, State *s, const char *what, int cpu, int arg) {
        unsigned long slot;

        model_settle(s);
        canonicalize(s);
        if (search->wanted) {
                if (!search->label[0] && memcmp(s, search->wanted, sizeof(*s)) == 0) {
                        char where[24] = "";

                        if (cpu >= 0)
                                snprintf(where, sizeof(where), "cpu %d: ", cpu);
                        snprintf(search->label, sizeof(search->label), arg >= 0 ? "%s%s (%d)" : "%s%s", where, what,
                                 arg);
                }
                return;
        }

        for (slot = hash(s) & search->mask; search->table[slot]; slot = (slot + 1) & search->mask)
                if (memcmp(&search->states[search->table[slot] - 1], s, sizeof(*s)) == 0)
                        return;
        if (search->n == search->max) {
                search->full = true;
                return;
        }
        search->states[search->n] = *s;
        search->parents[search->n] = search->current;
        search->table[slot] = ++search->n;
        if (2 * search->n > search->mask)
                grow(search);
}

void search_violation(Search *search, const char *what) {
        if (search->violation)
                return;
        search->violation = what;
        search->violated_from = search->current;
}

static unsigned depth_of(const Search *search, unsigned long i) {
        unsigned depth = 0;

        for (; i; i = search->parents[i])
                depth++;
        return depth;
}

/* From the beginning to state @i, one line for each step. */
static void print_trace(Search *search, unsigned long i) {
        Search again = {};

        if (i == 0)
                return;
        print_trace(search, search->parents[i]);
        again.wanted = &search->states[i];
        model_successors(&again, &search->states[search->parents[i]]);
        printf("#   %s\n", again.label);
}

SearchResult search_run(const Scenario *scenario, int mutation, unsigned long max_states, bool trace) {
        Search search = { .max = max_states, .mask = 4095 };
        SearchResult result = {};
        State first;

        search.states = malloc(max_states * sizeof(*search.states));
        search.parents = malloc(max_states * sizeof(*search.parents));
        search.table = calloc(search.mask + 1, sizeof(*search.table));
        if (!search.states || !search.parents || !search.table)
                err(2, "no memory for %lu states", max_states);

        model_scenario = scenario;
        model_mutation = mutation;
        memset(&first, 0, sizeof(first));
        model_begin(&first, scenario);
        search_found(&search, &first, "", -1, -1);
        for (; search.current < search.n && !search.violation; search.current++)
                model_successors(&search, &search.states[search.current]);

        result.violation = search.violation;
        result.states = search.n;
        result.full = search.full;
        result.depth = depth_of(&search, search.violation ? search.violated_from : search.n - 1);
        if (search.violation && trace)
                print_trace(&search, search.violated_from);
        free(search.states);
        free(search.parents);
        free(search.table);
        return result;
}
