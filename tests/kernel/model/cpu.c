// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a CPU does: switch, idle lazily, walk page tables at any time, since
 * processors speculate, and answer IPIs. After arch/x86/mm/tlb.c with the
 * series applied.
 *
 * Left out: that a CPU leaves the cpumask of the mm that it switches from before
 * it loads CR3, some instructions earlier than here. The kernel does that without
 * regions, too.
 */
#include "tlb.h"

Slot slot_of(Cpu cpu, unsigned i) {
        return (Slot){ .raw = cpu.raw >> (SLOT_SHIFT + i * SLOT_BITS) & ((1U << SLOT_BITS) - 1) };
}

void slot_set(Cpu *cpu, unsigned i, Slot slot) {
        unsigned shift = SLOT_SHIFT + i * SLOT_BITS;

        cpu->raw &= ~((uint64_t) ((1U << SLOT_BITS) - 1) << shift);
        cpu->raw |= (uint64_t) slot.raw << shift;
}

unsigned ipi_of(Cpu cpu, unsigned actor) {
        return cpu.ipi >> (2 * actor) & 3;
}

void ipi_set(Cpu *cpu, unsigned actor, unsigned what) {
        cpu->ipi &= ~(3U << (2 * actor));
        cpu->ipi |= what << (2 * actor);
}

bool has_window(const State *s, unsigned mm) {
        return mm != INIT && s->world.windows & 1U << mm;
}

static void one_more(unsigned *behind) {
        if (*behind < 7)
                (*behind)++;
}

void raise_generation(State *s, unsigned mm) {
        unsigned i, j, behind;

        for (i = 0; i < model_scenario->cpus; i++) {
                Cpu *cpu = &s->cpu[i];

                for (j = 0; j < model_scenario->slots; j++) {
                        Slot slot = slot_of(*cpu, j);

                        if (slot.ctx != mm + 1)
                                continue;
                        behind = slot.behind;
                        one_more(&behind);
                        slot.behind = behind;
                        slot_set(cpu, j, slot);
                }
                if (cpu->sw == SWITCH_GEN_READ && cpu->next == mm) {
                        behind = cpu->next_behind;
                        one_more(&behind);
                        cpu->next_behind = behind;
                }
        }
        for (i = 0; i < N_ACTORS; i++)
                if (s->actor[i].sub >= SUB_MASK && s->actor[i].kind == KIND_MM && s->actor[i].mm == mm) {
                        behind = s->actor[i].behind;
                        one_more(&behind);
                        s->actor[i].behind = behind;
                }
}

static Slot flushed(Slot slot) {
        return (Slot){ .ctx = slot.ctx, .behind = slot.behind, .window = slot.window };
}

/* INVLPG of other addresses: no leaf goes, but what is cached of upper levels. */
static Slot flushed_elsewhere(Slot slot) {
        slot.donor_pud = slot.host_pud = slot.lower = slot.lower_rw = 0;
        return slot;
}

static void enter_region(Cpu *cpu) {
        cpu->in_region = 1;
}

/*
 * The end of switch_mm_irqs_off(): CR3 is loaded with @next under @asid. Return:
 * false if the CPU would then use a stale entry.
 */
static bool load(const State *s, Cpu *cpu, unsigned next, unsigned asid, unsigned behind) {
        unsigned old = cpu->asid;
        Slot slot = slot_of(*cpu, asid);
        bool flush = slot.ctx != next + 1 || slot.behind > behind;

        if (flush) {
                slot = (Slot){ .ctx = next + 1, .behind = behind, .window = slot.window };
        } else if (slot.leaf == LEAF_DEAD)
                return false;
        /*
         * The bit goes with what it stands for. An mm that has just lost its
         * window may be loaded without a flush: its generation is raised later.
         */
        if (flush || mutant(M_BIT_GOES_WITHOUT_FLUSH))
                slot.window = 0;
        if (has_window(s, next) && !mutant(M_NO_WINDOW_BIT_AT_SWITCH) &&
            !(mutant(M_WINDOW_BIT_OF_OLD_SLOT) && asid != old))
                slot.window = 1;
        slot_set(cpu, asid, slot);
        if (mutant(M_WINDOW_BIT_OF_OLD_SLOT) && asid != old && has_window(s, next)) {
                slot = slot_of(*cpu, old);
                slot.window = 1;
                slot_set(cpu, old, slot);
        }

        if (cpu->loaded != INIT)
                cpu->in_mm &= ~(1U << cpu->loaded);
        cpu->loaded = next;
        cpu->asid = asid;
        cpu->lazy = 0;
        cpu->sw = SWITCH_IDLE;
        cpu->next = 0;
        cpu->next_behind = 0;
        return true;
}

/* May choose_new_asid() take @asid for @mm? Any, if none belongs to the mm. */
static bool may_choose(Cpu cpu, unsigned mm, unsigned asid) {
        unsigned i;

        for (i = 0; i < model_scenario->slots; i++)
                if (slot_of(cpu, i).ctx == mm + 1)
                        return i == asid;
        return true;
}

/* arch_mshare_flush_local() */
static void flush_local(Cpu *cpu, bool partial) {
        Slot slot;
        unsigned i;

        for (i = 0; i < model_scenario->slots; i++) {
                slot = slot_of(*cpu, i);
                if (i == cpu->asid || (!slot.window && !model_scenario->all_slots))
                        continue;
                if (mutant(M_BITS_WITHOUT_ZEROING))
                        slot.window = 0;
                else if (!mutant(M_NO_ZEROING))
                        /* The other entries are flushed before they are used. */
                        slot.raw = 0;
                slot_set(cpu, i, slot);
        }

        slot = slot_of(*cpu, cpu->asid);
        slot = partial ? flushed_elsewhere(slot) : flushed(slot);
        if (mutant(M_LOADED_BIT_CLEARED))
                slot.window = 0;
        slot_set(cpu, cpu->asid, slot);
}

/* mshare_flush_cpu(); a lazy CPU has given up its mm before. */
static void flush_region(const State *s, Cpu *cpu, const Actor *actor) {
        bool leaves = !has_window(s, cpu->loaded) || mutant(M_ALWAYS_LEAVES);

        flush_local(cpu, actor->partial && (!leaves || mutant(M_RANGE_ON_LEAVING)));
        if (leaves)
                cpu->in_region = 0;
}

/* flush_tlb_func() */
static void flush_mm(Cpu *cpu, const Actor *actor) {
        Slot slot = slot_of(*cpu, cpu->asid);

        if (cpu->loaded == INIT || (actor->kind == KIND_MM && actor->mm != cpu->loaded))
                return;
        if (actor->kind == KIND_MM && actor->behind >= slot.behind && actor->behind < 7)
                return;
        if (slot.behind == 0)
                return;
        if (actor->kind == KIND_MM && actor->partial && actor->behind == 0 && slot.behind == 1)
                slot = flushed_elsewhere(slot);
        else
                slot = flushed(slot);
        slot.behind = 0;
        slot_set(cpu, cpu->asid, slot);
}

/* mshare_enter_loaded() */
static void enter_loaded(Cpu *cpu, const Actor *actor) {
        Slot slot;

        if (cpu->loaded != actor->mm)
                return;
        enter_region(cpu);
        if (mutant(M_NO_WINDOW_BIT_AT_ATTACH))
                return;
        slot = slot_of(*cpu, cpu->asid);
        slot.window = 1;
        slot_set(cpu, cpu->asid, slot);
}

static void answer(Search *search, const State *s, unsigned i, unsigned a) {
        const Actor *actor = &s->actor[a];
        Cpu cpu = s->cpu[i];
        State next;
        unsigned asid;
        bool gives_up;

        /*
         * All but flush_tlb_func() for an mm that is not loaded give up a lazily
         * kept mm: there are as many ways as there are PCIDs for init_mm.
         */
        gives_up = cpu.lazy && !(actor->kind == KIND_MM && actor->mm != cpu.loaded);
        for (asid = 0; asid < model_scenario->slots; asid++) {
                next = *s;
                ipi_set(&next.cpu[i], a, IPI_NONE);
                if (gives_up) {
                        if (!may_choose(cpu, INIT, asid))
                                continue;
                        load(s, &next.cpu[i], INIT, asid, 0);
                }
                if (actor->kind == KIND_REGION)
                        flush_region(s, &next.cpu[i], actor);
                else if (actor->kind == KIND_ENTER)
                        enter_loaded(&next.cpu[i], actor);
                else
                        flush_mm(&next.cpu[i], actor);
                search_found(search, &next, "answers the IPI of actor", i, a);
                if (!gives_up)
                        break;
        }
}

/*
 * CPUs walk page tables at any time, in any mode, and keep what they find until
 * they flush it. Here they do whenever they can: what a CPU has cached enables
 * no step of the protocol and prevents none, so a CPU that has cached more shows
 * each fault that one with less would show.
 */
static void walk(const State *s, Cpu *cpu) {
        Slot slot = slot_of(*cpu, cpu->asid);
        unsigned entry;

        if (cpu->loaded == INIT)
                return;
        entry = s->world.entries >> (2 * cpu->loaded) & 3;
        if (entry == ENTRY_DONOR)
                slot.donor_pud = 1;
        else if (entry == ENTRY_HOST)
                slot.host_pud = 1;
        /* A walk may start from a cached entry of a higher level. */
        if (slot.donor_pud)
                slot.lower = slot.lower_rw = 1;
        if (slot.host_pud && s->world.host_pud) {
                slot.lower = 1;
                /* Only the donor's window may be a read-only one. */
                if (!model_scenario->read_only)
                        slot.lower_rw = 1;
        }
        if (slot.lower && s->world.pte && slot.leaf != LEAF_DEAD && slot.leaf != LEAF_RW)
                slot.leaf = slot.lower_rw ? LEAF_RW : LEAF_RO;
        slot_set(cpu, cpu->asid, slot);
}

void model_settle(State *s) {
        unsigned i;

        for (i = 0; i < model_scenario->cpus; i++)
                walk(s, &s->cpu[i]);
}

/* switch_mm_irqs_off() from one mm to another */
static void switching(Search *search, const State *s, unsigned i) {
        Cpu cpu = s->cpu[i];
        State next;
        unsigned asid;

        next = *s;
        switch (cpu.sw) {
        case SWITCH_IN_MASK:
                if (has_window(s, cpu.next) && !mutant(M_NO_ENTER_AT_SWITCH) && !mutant(M_ENTER_AFTER_LOAD))
                        enter_region(&next.cpu[i]);
                next.cpu[i].sw = SWITCH_IN_REGION;
                search_found(search, &next, "switches: enters the region", i, cpu.next);
                return;
        case SWITCH_IN_REGION:
                if (mutant(M_ENTER_AFTER_LOAD) && cpu.next == cpu.loaded) {
                        if (slot_of(cpu, cpu.asid).leaf == LEAF_DEAD)
                                search_violation(search, "a CPU begins to use what it must not");
                        next.cpu[i].sw = SWITCH_IDLE;
                        next.cpu[i].next = 0;
                        enter_region(&next.cpu[i]);
                        search_found(search, &next, "enters the region late", i, cpu.loaded);
                        return;
                }
                next.cpu[i].sw = SWITCH_GEN_READ;
                search_found(search, &next, "switches: reads the generation", i, cpu.next);
                return;
        case SWITCH_GEN_READ:
                for (asid = 0; asid < model_scenario->slots; asid++) {
                        if (!may_choose(cpu, cpu.next, asid))
                                continue;
                        next = *s;
                        if (!load(s, &next.cpu[i], cpu.next, asid, cpu.next_behind)) {
                                search_violation(search, "a CPU switches without a flush to what it must not use");
                                return;
                        }
                        if (mutant(M_ENTER_AFTER_LOAD) && has_window(s, cpu.next)) {
                                next.cpu[i].sw = SWITCH_IN_REGION;
                                next.cpu[i].next = cpu.next;
                        }
                        search_found(search, &next, "switches: loads CR3", i, cpu.next);
                }
                return;
        }
}

static void idle_or_switch(Search *search, const State *s, unsigned i) {
        Cpu cpu = s->cpu[i];
        Slot slot = slot_of(cpu, cpu.asid);
        State next;
        unsigned mm;

        for (mm = 0; mm <= INIT; mm++) {
                /* To init_mm by itself: deep idle states do; a CPU that is asked is below. */
                if (mm == cpu.loaded || (mm >= model_scenario->mms && (mm != INIT || !model_scenario->large)))
                        continue;
                next = *s;
                next.cpu[i].lazy = 0;
                next.cpu[i].sw = SWITCH_IN_MASK;
                next.cpu[i].next = mm;
                if (mm != INIT)
                        next.cpu[i].in_mm |= 1U << mm;
                search_found(search, &next, "begins to switch to mm", i, mm);
        }
        if (cpu.loaded == INIT)
                return;

        next = *s;
        if (!cpu.lazy) {
                next.cpu[i].lazy = 1;
                search_found(search, &next, "becomes lazy", i, -1);
                return;
        }

        /* Back to the same mm: if its generation is another, with a flush. */
        if (slot.behind) {
                slot = flushed(slot);
                slot.behind = 0;
                slot_set(&next.cpu[i], cpu.asid, slot);
        } else if (slot.leaf == LEAF_DEAD) {
                search_violation(search, "a CPU goes on, after it was lazy, with what it must not use");
                return;
        }
        next.cpu[i].lazy = 0;
        search_found(search, &next, "is lazy no more", i, -1);
}

/* should_flush_tlb(), of one CPU after the other. */
static void decide(Search *search, const State *s, unsigned i, unsigned a) {
        const Actor *actor = &s->actor[a];
        Cpu cpu = s->cpu[i];
        State next = *s;
        bool send = !cpu.lazy;

        if (actor->kind == KIND_MM && cpu.sw == SWITCH_IDLE && cpu.loaded != actor->mm)
                send = false;
        ipi_set(&next.cpu[i], a, send ? IPI_SENT : IPI_NONE);
        search_found(search, &next, send ? "gets an IPI of actor" : "gets no IPI of actor", i, a);
}

void cpu_successors(Search *search, const State *s) {
        unsigned i, a;

        for (i = 0; i < model_scenario->cpus; i++) {
                for (a = 0; a < N_ACTORS; a++) {
                        unsigned ipi = ipi_of(s->cpu[i], a);

                        if (ipi == IPI_MAYBE)
                                decide(search, s, i, a);
                        else if (ipi == IPI_SENT && s->cpu[i].sw == SWITCH_IDLE)
                                answer(search, s, i, a);
                }
                if (s->cpu[i].sw == SWITCH_IDLE)
                        idle_or_switch(search, s, i);
                else
                        switching(search, s, i);
        }
}
