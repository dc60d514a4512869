// SPDX-License-Identifier: GPL-2.0-only
/* What is searched, and the faults that the search has to find. */
#include "tlb.h"

#define ZAP (1U << OP_ZAP)
#define TABLE (1U << OP_ZAP_TABLE)
#define RANGE (1U << OP_RANGE)
#define BATCH (1U << OP_BATCH)

/*
 * Without "donate", mm 0 is a sharer at the beginning and may detach; mm 1 attaches
 * and detaches. With it, mm 1 donates its memory; mm 0 may attach later.
 * mm 2, where there is one, has no window.
 */
#define SHAPE(c, sl, m) .cpus = c, .slots = sl, .mms = m
#define SCENARIO(n, ...)                                                                                               \
        { .name = n, SHAPE(1, 2, 2), __VA_ARGS__ }
#define LARGE(n, ...)                                                                                                  \
        { .name = n, .large = true, __VA_ARGS__ }

const Scenario model_scenarios[] = {
        SCENARIO("zap", .ops = ZAP, .flushes = 1, .cycles = { 0, 1 }),
        SCENARIO("zap-all-slots", .ops = ZAP, .flushes = 1, .cycles = { 0, 1 }, .all_slots = true),
        SCENARIO("range", .ops = RANGE | ZAP, .flushes = 2, .both = true),
        SCENARIO("tables", .ops = TABLE, .flushes = 1, .cycles = { 0, 1 }),
        SCENARIO("batch", .ops = BATCH, .flushes = 1, .cycles = { 0, 1 }),
        SCENARIO("batch-munmap", .ops = BATCH, .flushes = 1, .unmapper = true),
        SCENARIO("donate", .ops = ZAP, .flushes = 1, .cycles = { 0, 1 }, .donate = true),
        SCENARIO("donate-batch", .ops = BATCH, .flushes = 1, .cycles = { 0, 1 }, .donate = true, .unmapper = true),
        SCENARIO("donate-ro", .cycles = { 0, 1 }, .donate = true, .read_only = true),

        LARGE("zap-2", SHAPE(2, 2, 2), .ops = ZAP | TABLE, .flushes = 1),
        LARGE("range-2", SHAPE(2, 2, 2), .ops = RANGE, .flushes = 1),
        {},
};

const Mutation model_mutations[] = {
        [M_NO_GEN_AT_ATTACH] = { "no-gen-at-attach", "attach does not raise the mm's generation", "donate-batch" },
        [M_NO_IPI_AT_ATTACH] = { "no-ipi-at-attach", "attach does not tell CPUs that have the mm loaded", "zap" },
        [M_GEN_BEFORE_IPI] = { "gen-before-ipi", "attach raises the generation before CPUs are told", "donate-batch" },
        [M_ENTRIES_FIRST] = { "entries-first", "attach sets entries before the lists", "zap" },
        [M_WINDOW_AFTER_IPI] = { "window-after-ipi", "the mm's list is changed after CPUs are told", "zap" },
        [M_LIST_AFTER_ENTRIES] = { "list-after-entries", "the region's list is changed after the entries", "donate" },
        [M_NR_AFTER_ENTRIES] = { "nr-after-entries", "the sharer is counted after its entries are set", "zap" },
        [M_NO_ENTER_AT_SWITCH] = { "no-enter-at-switch", "a CPU does not enter the region when it switches", "zap" },
        [M_ENTER_AFTER_LOAD] = { "enter-after-load", "it does so after it has read the generation and loaded CR3",
                                 "zap" },
        [M_NO_ZEROING] = { "no-zeroing", "a flush leaves what is in other PCIDs", "zap" },
        [M_RANGE_ON_LEAVING] = { "range-on-leaving", "a CPU leaves the region after a ranged flush", "range" },
        [M_ALWAYS_LEAVES] = { "always-leaves", "a CPU leaves the region though it runs a sharer", "range" },
        [M_REGION_SPARES_LAZY] = { "spares-lazy", "a flush of the region spares lazy CPUs", "zap" },
        [M_FIRST_SHARER_ONLY] = { "first-sharer-only", "a flush reaches the first sharer alone", "zap" },
        [M_CPUS_BEFORE_PTE] = { "cpus-before-pte", "reclaim notes the CPUs before it clears the entry", "batch" },
        [M_NO_FLUSH_AT_DETACH] = { "no-flush-at-detach", "detach does not flush", "zap" },
        [M_LAZY_AT_DETACH] = { "lazy-at-detach", "detach's flush does not count as freeing tables", "zap" },
        [M_LIST_BEFORE_FLUSH_AT_DETACH] = { "list-before-flush", "detach leaves the list before it flushes", "zap" },
        [M_BATCH_WITHOUT_CPUS] = { "batch-without-cpus", "reclaim does not note the CPUs", "batch" },
        [M_NO_BATCH_FLUSH] = { "no-batch-flush", "the end of a batch does not flush", "batch" },
        [M_HAND_OVER_FIRST] = { "hand-over-first", "donation hands over before the lists are changed", "donate" },
        [M_NO_PENDING_AT_HAND_OVER] = { "no-pending-at-hand-over", "hand-over forgets a flush that is put off",
                                        "donate-batch",
                                        /* No CPU can ask before the last flush, and the donor has raised its generation. */
                                        .redundant = true },
        [M_NO_LAST_FLUSH] = { "no-last-flush", "donation does not flush at its end", "donate-ro" },
        [M_LAZY_AT_DONATION] = { "lazy-at-donation", "its last flushes do not count as freeing tables", "donate-ro" },
        [M_NO_WINDOW_BIT_AT_SWITCH] = { "no-bit-at-switch", "a switch does not note that the PCID has windows", "zap" },
        [M_NO_WINDOW_BIT_AT_ATTACH] = { "no-bit-at-attach", "attach does not note it for CPUs that have the mm loaded",
                                        "zap" },
        [M_WINDOW_BIT_OF_OLD_SLOT] = { "bit-of-old-pcid", "a switch notes it for the PCID that it leaves", "zap" },
        [M_BITS_WITHOUT_ZEROING] = { "bits-without-zeroing",
                                     "a flush forgets which PCIDs have windows, and flushes none", "zap" },
        [M_LOADED_BIT_CLEARED] = { "loaded-bit-cleared", "a flush forgets that the loaded PCID has windows", "range" },
        [M_BIT_GOES_WITHOUT_FLUSH] = { "bit-goes-without-flush",
                                       "a switch without a flush forgets that the PCID had windows", "zap" },
        {},
};
