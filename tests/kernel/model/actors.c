// SPDX-License-Identifier: GPL-2.0-only
/*
 * The actors: they change the host's page tables and wait for CPUs. These are
 * reclaim, munmap() and the end of the region, modelled on mshare_flush_tlb(),
 * flush_tlb_mm_range() and the batched flush of reclaim. One step is one access
 * to shared state. What happens under a lock may be one step.
 */
#include "tlb.h"

/* F */
enum { F_IDLE, F_ZAPPED, F_FREE, F_FREE_TABLE, F_ADD, F_END_BATCH, F_FREE_BATCH, F_PICKED };
/* U */
enum { U_IDLE, U_FLUSH, U_RETURN };

/*
 * flush_tlb_mm_range() of a process, or of the host (mshare_flush_tlb()): the
 * actor goes on where it is when all CPUs have answered.
 */
void begin_flush_mm(Actor *actor, unsigned mm, bool partial, bool freed) {
        actor->sub = SUB_GEN;
        actor->kind = KIND_MM;
        actor->mm = mm;
        actor->partial = partial;
        actor->freed = freed;
}

void begin_flush_host(Actor *actor, bool partial, bool freed) {
        actor->sub = SUB_NR;
        actor->partial = partial;
        actor->freed = freed;
}

static void end_flush(Actor *actor) {
        actor->sub = SUB_NONE;
        actor->kind = 0;
        actor->mm = 0;
        actor->behind = 0;
        actor->partial = 0;
        actor->freed = 0;
}

/* on_each_cpu_mask(), or ..._cond_mask(): then should_flush_tlb() is asked later. */
static void send(State *s, unsigned a) {
        Actor *actor = &s->actor[a];
        unsigned i;

        for (i = 0; i < model_scenario->cpus; i++) {
                Cpu *cpu = &s->cpu[i];
                unsigned what = IPI_SENT;
                bool in;

                switch (actor->kind) {
                case KIND_REGION:
                        /* A batch has collected its CPUs before its end. */
                        in = a == F && actor->op == OP_BATCH ? cpu->in_batch : cpu->in_region;
                        if (mutant(M_REGION_SPARES_LAZY))
                                what = IPI_MAYBE;
                        break;
                case KIND_ANY:
                        in = cpu->in_batch;
                        what = IPI_MAYBE;
                        break;
                case KIND_ENTER:
                        in = cpu->in_mm >> actor->mm & 1;
                        break;
                default:
                        in = cpu->in_mm >> actor->mm & 1;
                        if (!actor->freed)
                                what = IPI_MAYBE;
                }
                if (in)
                        ipi_set(cpu, a, what);
        }
}

static bool all_answered(const State *s, unsigned a) {
        unsigned i;

        for (i = 0; i < model_scenario->cpus; i++)
                if (ipi_of(s->cpu[i], a) != IPI_NONE)
                        return false;
        return true;
}

static void flush_step(Search *search, const State *s, unsigned a) {
        State next = *s;
        Actor *actor = &next.actor[a];

        switch (actor->sub) {
        case SUB_NR:
                if (next.world.nr_sharers == 0)
                        end_flush(actor);
                else if (next.world.nr_sharers > 1 && !mutant(M_FIRST_SHARER_ONLY)) {
                        actor->kind = KIND_REGION;
                        actor->sub = SUB_MASK;
                } else
                        actor->sub = SUB_FIRST;
                search_found(search, &next, "reads nr_sharers, actor", -1, a);
                return;
        case SUB_FIRST:
                if (next.world.list_len == 0)
                        end_flush(actor);
                else
                        begin_flush_mm(actor, next.world.list & 3, actor->partial, actor->freed);
                search_found(search, &next, "takes the first of the list, actor", -1, a);
                return;
        case SUB_GEN:
                actor->sub = SUB_MASK;
                actor->behind = 0;
                actor->kind = KIND_MM;
                /* It is the newest itself: not one more for this actor. */
                raise_generation(&next, actor->mm);
                actor->behind = 0;
                search_found(search, &next, "raises a generation, actor", -1, a);
                return;
        case SUB_MASK:
                send(&next, a);
                actor->sub = SUB_WAIT;
                search_found(search, &next, "reads a cpumask, actor", -1, a);
                return;
        }
}

/*
 * No CPU uses what has just become free or forbidden. CPUs must not use what they
 * have of it in PCIDs that are not loaded.
 */
static bool has(Slot slot, Gone gone) {
        switch (gone) {
        case GONE_PAGE:
                return slot.leaf == LEAF_RO || slot.leaf == LEAF_RW;
        case GONE_WRITING:
                return slot.leaf == LEAF_RW || slot.lower_rw || slot.donor_pud;
        case GONE_LOWER:
                return slot.lower;
        case GONE_DONOR_PUD:
                return slot.donor_pud;
        case GONE_HOST_PUD:
                return slot.host_pud;
        }
        return false;
}

bool bury(Search *search, State *s, Gone gone, unsigned mm) {
        static const char *const what[] = {
                [GONE_PAGE] = "a process uses a page that is gone",
                [GONE_WRITING] = "a process may still write through a read-only window",
                [GONE_LOWER] = "a CPU may walk a lower table that is free",
                [GONE_DONOR_PUD] = "a CPU may walk the donor's PUD table, which is free",
                [GONE_HOST_PUD] = "a CPU may walk the host's PUD table, which is free",
        };
        unsigned i, j;

        for (i = 0; i < model_scenario->cpus; i++) {
                Cpu *cpu = &s->cpu[i];

                for (j = 0; j < model_scenario->slots; j++) {
                        Slot slot = slot_of(*cpu, j);
                        bool user = !cpu->lazy && cpu->sw == SWITCH_IDLE;

                        if (!has(slot, gone) || (gone == GONE_WRITING && slot.ctx != mm + 1))
                                continue;
                        /* Speculation walks tables, too, on behalf of no process. */
                        if (j == cpu->asid && (user || gone > GONE_WRITING)) {
                                search_violation(search, what[gone]);
                                return false;
                        }
                        slot.leaf = LEAF_DEAD;
                        slot_set(cpu, j, slot);
                }
        }
        return true;
}

/* A donation holds both mmap_locks. */
static bool host_locked(const State *s) {
        return s->world.host_lock || !s->world.ready;
}

static void f_begin(Search *search, const State *s, Op op) {
        State next = *s;
        Actor *f = &next.actor[F];
        bool host = next.world.owner == OWNER_HOST;

        if (!(model_scenario->ops & 1U << op))
                return;
        if (op != OP_RANGE && !next.world.pte)
                return;
        /* By reverse mapping, in a donation as well; munmap() needs the lock. */
        if (next.world.rmap_lock || ((op == OP_RANGE || op == OP_ZAP_TABLE) && (host_locked(s) || !host)))
                return;
        f->left--;
        f->op = op;
        f->pc = F_ZAPPED;
        if (op == OP_BATCH && mutant(M_CPUS_BEFORE_PTE)) {
                unsigned i;

                for (i = 0; i < model_scenario->cpus; i++)
                        next.cpu[i].in_batch = next.cpu[i].in_region;
                f->pc = F_PICKED;
                next.world.rmap_lock = 1;
                search_found(search, &next, "F: notes the CPUs of its batch", -1, -1);
                return;
        }
        if (op != OP_RANGE)
                next.world.pte = 0;
        if (op == OP_ZAP_TABLE)
                next.world.host_pud = 0;
        next.world.rmap_lock = op != OP_RANGE;
        search_found(search, &next, "F: clears an entry, operation", -1, op);
}

static void f_step(Search *search, const State *s) {
        State next = *s;
        Actor *f = &next.actor[F];
        bool host = next.world.owner == OWNER_HOST;
        unsigned i;

        switch (f->pc) {
        case F_IDLE:
                /* A fault puts a page in where there is none, and its tables. */
                if (!next.world.pte && !next.world.torn_down && s->actor[U].pc == U_IDLE) {
                        next.world.pte = 1;
                        if (host)
                                next.world.host_pud = 1;
                        search_found(search, &next, "a page is faulted in", -1, -1);
                }
                for (i = OP_ZAP; f->left && i < N_OPS; i++)
                        f_begin(search, s, i);
                return;
        case F_PICKED:
                next.world.pte = 0;
                f->pc = F_ADD;
                search_found(search, &next, "F: clears the entry", -1, -1);
                return;
        case F_ZAPPED:
                if (f->op == OP_BATCH && (!host || next.world.nr_sharers)) {
                        f->pc = F_ADD;
                        search_found(search, &next, "F: puts off the flush", -1, -1);
                        return;
                }
                f->pc = f->op == OP_ZAP_TABLE ? F_FREE_TABLE : F_FREE;
                if (f->op == OP_BATCH)
                        f->op = OP_ZAP; /* no CPU to wait for */
                if (host)
                        begin_flush_host(f, f->op == OP_RANGE, f->op == OP_ZAP_TABLE);
                else
                        begin_flush_mm(f, 1, false, false);
                search_found(search, &next, "F: flushes", -1, -1);
                return;
        case F_ADD:
                /* arch_tlbbatch_add_pending(), set_tlb_ubc_flush_pending() */
                if (!host)
                        raise_generation(&next, 1);
                for (i = 0; i < model_scenario->cpus; i++)
                        if (host ? next.cpu[i].in_region && !mutant(M_BATCH_WITHOUT_CPUS) && !mutant(M_CPUS_BEFORE_PTE)
                                 : next.cpu[i].in_mm >> 1 & 1)
                                next.cpu[i].in_batch = 1;
                next.world.batched |= 1U << next.world.owner;
                next.world.rmap_lock = 0;
                /* The owner now: a donor's pages may belong to the host at the end. */
                f->behind = host;
                f->pc = F_END_BATCH;
                search_found(search, &next, "F: adds the page to its batch", -1, -1);
                return;
        case F_END_BATCH:
                f->kind = f->behind ? KIND_REGION : KIND_ANY;
                f->behind = 0;
                f->sub = SUB_MASK;
                if (mutant(M_NO_BATCH_FLUSH))
                        f->sub = SUB_NONE;
                f->pc = F_FREE_BATCH;
                search_found(search, &next, "F: ends its batch", -1, -1);
                return;
        case F_FREE_BATCH:
                for (i = 0; i < model_scenario->cpus; i++)
                        next.cpu[i].in_batch = 0;
                next.world.batched = 0;
                break;
        case F_FREE_TABLE:
                if (!bury(search, &next, GONE_LOWER, 0))
                        return;
                break;
        }
        if (f->op != OP_RANGE && !bury(search, &next, GONE_PAGE, 0))
                return;
        next.world.rmap_lock = 0;
        f->op = OP_NONE;
        f->pc = F_IDLE;
        search_found(search, &next, "F: frees what it has cleared", -1, -1);
}

/* An munmap() that finds the entry clear, while reclaim's flush is put off. */
static void u_step(Search *search, const State *s) {
        State next = *s;
        Actor *u = &next.actor[U];
        bool host = s->world.owner == OWNER_HOST;

        switch (u->pc) {
        case U_IDLE:
                if (!u->left || s->world.pte || s->world.rmap_lock || s->actor[F].pc != F_END_BATCH)
                        return;
                if (host ? host_locked(s) : !shares_nothing(s, 1))
                        return;
                u->left--;
                u->pc = U_FLUSH;
                next.world.host_lock = 1;
                search_found(search, &next, "U: munmap() finds no page", -1, -1);
                return;
        case U_FLUSH:
                if (next.world.batched & 1U << next.world.owner) {
                        if (host)
                                begin_flush_host(u, false, false);
                        else
                                begin_flush_mm(u, 1, false, false);
                }
                u->pc = U_RETURN;
                search_found(search, &next, "U: flushes if a flush is put off", -1, -1);
                return;
        case U_RETURN:
                if (!bury(search, &next, GONE_PAGE, 0))
                        return;
                next.world.host_lock = 0;
                u->pc = U_IDLE;
                search_found(search, &next, "U: munmap() returns", -1, -1);
                return;
        }
}

/* The region has no name, so its tables are freed with the last sharer. */
static void teardown(Search *search, const State *s) {
        State next = *s;

        if (s->world.torn_down || !s->world.ready || s->world.list_len || s->actor[F].pc != F_IDLE ||
            s->actor[U].pc != U_IDLE || !shares_nothing(s, 0) || !shares_nothing(s, 1))
                return;
        if (!bury(search, &next, GONE_PAGE, 0) || !bury(search, &next, GONE_LOWER, 0) ||
            !bury(search, &next, GONE_HOST_PUD, 0))
                return;
        next.world.torn_down = 1;
        next.world.pte = 0;
        next.world.host_pud = 0;
        /* No operation begins from here on. */
        next.actor[F].left = next.actor[U].left = next.actor[W0].left = next.actor[W1].left = 0;
        search_found(search, &next, "the region is freed", -1, -1);
}

void actor_successors(Search *search, const State *s) {
        unsigned a;

        for (a = 0; a < N_ACTORS; a++) {
                State now = *s;

                /* Waiting for CPUs ends with the step that waited. */
                if (now.actor[a].sub == SUB_WAIT) {
                        if (!all_answered(s, a))
                                continue;
                        end_flush(&now.actor[a]);
                }
                if (now.actor[a].sub != SUB_NONE)
                        flush_step(search, &now, a);
                else if (a == F)
                        f_step(search, &now);
                else if (a == U)
                        u_step(search, &now);
                else
                        window_successors(search, &now, a - W0);
        }
        teardown(search, s);
}

void model_successors(Search *search, const State *s) {
        cpu_successors(search, s);
        actor_successors(search, s);
}
