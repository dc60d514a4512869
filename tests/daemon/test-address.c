/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Windows: which addresses are free, which ones the broker chooses, and that no two overlap. */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>

#include "basic/util.h"
#include "model/address.h"

#define GRANULE (UINT64_C(1) << 30)
#define SPAN ADDRESS_TABLE_SPAN
#define TiB (UINT64_C(1) << 40)

static uint64_t random_u64(void) {
        return (uint64_t) g_random_int() << 32 | g_random_int();
}

/* Takes windows of that length until none is left, and checks each against all others. Returns how many. */
static size_t fill(uint64_t length, AddressRange *windows, size_t max) {
        size_t n = 0;

        while (n < max) {
                uint64_t at;
                int r;

                r = address_pick(windows, n, length, GRANULE, random_u64(), &at);
                if (r == -ENOSPC)
                        break;
                g_assert_cmpint(r, ==, 0);
                g_assert_cmpint(address_check(at, length, GRANULE), ==, 0);
                g_assert_null(address_conflict(windows, n, at, length));
                windows[n++] = (AddressRange){ at, length };
        }
        return n;
}

/*
 * Where x86_64 Linux places things, with 32 random bits of pages, the highest value of vm.mmap_rnd_bits. The mmap area
 * grows down from below the stack, whose size has no limit here. The legacy area grows up. Each gets 4 TiB of mappings
 * here, the heap 2 TiB.
 */
static const struct {
        const char *what;
        uint64_t start, end;
} used[] = {
        { "fixed executable, its heap", 0, 4 * TiB },
        { "shadow of AddressSanitizer", UINT64_C(0x7fff8000), UINT64_C(0x10007fff8000) },
        { "mmap area below an unlimited stack", 128 * TiB / 6 - 16 * TiB - 4 * TiB, 128 * TiB / 6 },
        { "legacy mmap area", 128 * TiB / 3, 128 * TiB / 3 + 16 * TiB + 4 * TiB },
        { "heap of AddressSanitizer, its tables", 80 * TiB, 84 * TiB + GRANULE },
        { "position-independent executable, its heap", 128 * TiB / 3 * 2, 128 * TiB / 3 * 2 + 16 * TiB + 2 * TiB },
        { "mmap area, vdso, stack", 128 * TiB - 16 * TiB - 4 * TiB, 128 * TiB },
};

static void test_no_default_collides_with_a_process(void) {
        static AddressRange windows[1000];
        size_t n = fill(SPAN, windows, G_N_ELEMENTS(windows));

        /* All addresses: 42.5 TiB. */
        g_assert_cmpuint(n, ==, 85);
        g_assert_cmpuint(fill(GRANULE, windows, G_N_ELEMENTS(windows)), ==, G_N_ELEMENTS(windows));
        n = fill(SPAN, windows, G_N_ELEMENTS(windows));
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < G_N_ELEMENTS(used); k++)
                        if (windows[i].start < used[k].end && used[k].start < windows[i].start + windows[i].length)
                                g_error("window %zu at %#" PRIx64 " collides with: %s", i, windows[i].start,
                                        used[k].what);
}

static void check_maps(const char *maps, const AddressRange *windows, size_t n) {
        unsigned lines = 0;

        for (const char *p = maps; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
                uint64_t start, end;

                g_assert_cmpint(sscanf(p, "%" SCNx64 "-%" SCNx64, &start, &end), ==, 2);
                lines++;
                /* The vsyscall page, above all user memory. */
                if (start >> 63)
                        continue;
                g_assert_null(address_conflict(windows, n, start, end - start));
        }
        g_assert_cmpuint(lines, >, 5);
}

static void test_no_default_collides_with_real_processes(void) {
        AddressRange windows[256];
        size_t n = fill(SPAN, windows, G_N_ELEMENTS(windows));
        g_autofree char *own = NULL;

        for (int i = 0; i < 60; i++) {
                static const char *const layouts[] = {
                        "exec cat /proc/self/maps",
                        "exec setarch -L cat /proc/self/maps",
                        /* The hard limit may forbid it. */
                        "ulimit -s unlimited 2>&-; exec cat /proc/self/maps",
                };
                const char *argv[] = { "sh", "-c", layouts[i % G_N_ELEMENTS(layouts)], NULL };
                g_autofree char *maps = NULL;

                g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &maps, NULL,
                                           NULL, NULL));
                check_maps(maps, windows, n);
        }
        /* With sanitizers, this program has more mappings than those. */
        g_assert_true(g_file_get_contents("/proc/self/maps", &own, NULL, NULL));
        check_maps(own, windows, n);
}

static void test_windows_of_all_sizes_fit(void) {
        for (uint64_t length = GRANULE; length <= 64 * SPAN; length *= 2) {
                AddressRange windows[256];
                size_t n = fill(length, windows, G_N_ELEMENTS(windows));

                if (length <= 32 * SPAN)
                        g_assert_cmpuint(n, >, 0);
                else
                        g_assert_cmpuint(n, ==, 0);
        }
}

/* How many pages of tables a window costs: one for each span that it touches but does not fill. */
static unsigned tables(AddressRange window) {
        uint64_t end = window.start + window.length;
        unsigned n = 0;

        for (uint64_t at = window.start - window.start % SPAN; at < end; at += SPAN)
                n += at < window.start || end - at < SPAN;
        return n;
}

static void test_windows_cost_one_table(void) {
        static const uint64_t lengths[] = {
                GRANULE, 3 * GRANULE, 300 * GRANULE, 511 * GRANULE, SPAN, SPAN + GRANULE, 2 * SPAN, 5 * SPAN - GRANULE,
        };

        for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
                AddressRange windows[20];
                size_t n = fill(lengths[i], windows, 16);

                g_assert_cmpuint(n, >, 0);
                for (size_t k = 0; k < n; k++)
                        g_assert_cmpuint(tables(windows[k]), ==, lengths[i] % SPAN != 0);
        }
}

/* If no better place is left, a window may lie anywhere. */
static void test_last_places_are_used(void) {
        static AddressRange windows[512];
        size_t n = fill(SPAN, windows, G_N_ELEMENTS(windows));
        uint64_t at;

        /* 600 granules are free, 300 on each side of the border between two spans. */
        for (size_t i = 0; i < n; i++) {
                if (windows[i].start == 24 * TiB)
                        windows[i].length -= 300 * GRANULE;
                if (windows[i].start == 24 * TiB + SPAN) {
                        windows[i].start += 300 * GRANULE;
                        windows[i].length -= 300 * GRANULE;
                }
        }
        g_assert_cmpint(address_pick(windows, n, 600 * GRANULE, GRANULE, random_u64(), &at), ==, 0);
        g_assert_cmpuint(at, ==, 24 * TiB + SPAN - 300 * GRANULE);
        g_assert_cmpint(address_pick(windows, n, 301 * GRANULE, GRANULE, random_u64(), &at), ==, 0);
        g_assert_null(address_conflict(windows, n, at, 301 * GRANULE));
        g_assert_cmpint(address_pick(windows, n, 300 * GRANULE, GRANULE, UINT64_MAX, &at), ==, 0);
        g_assert_cmpuint(at, ==, 24 * TiB + SPAN);
        g_assert_cmpint(address_pick(windows, n, 601 * GRANULE, GRANULE, random_u64(), &at), ==, -ENOSPC);
}

static void test_holes_are_found_again(void) {
        AddressRange windows[256];
        size_t n = fill(SPAN, windows, G_N_ELEMENTS(windows));

        for (size_t i = 0; i < n; i++) {
                AddressRange gone = windows[i];
                uint64_t at;

                windows[i] = windows[n - 1];
                g_assert_cmpint(address_pick(windows, n - 1, SPAN, GRANULE, random_u64(), &at), ==, 0);
                g_assert_cmpuint(at, ==, gone.start);
                g_assert_cmpint(address_pick(windows, n - 1, GRANULE, GRANULE, random_u64(), &at), ==, 0);
                g_assert_cmpuint(at - at % SPAN, ==, gone.start);
                g_assert_cmpint(address_pick(windows, n - 1, SPAN + GRANULE, GRANULE, 0, &at), ==, -ENOSPC);
                windows[i] = gone;
        }
}

static void test_every_free_place_of_a_zone_may_be_chosen(void) {
        /* Unordered, and one lies inside another, as a window that was given back may. */
        static const AddressRange taken[] = {
                { 40 * TiB, 2 * TiB },
                { 22 * TiB, 3 * SPAN },
                { 22 * TiB + SPAN, SPAN },
        };
        static const struct {
                uint64_t length;
                unsigned n;
        } cases[] = {
                /* The first zone has 42 spans, of which 35 are left. */
                { SPAN, 35 },
                { SPAN / 4, 35 * 385 },
                { GRANULE, 35 * 512 },
        };

        /* Each place has its share of all random numbers, and occupied places have none. */
        for (size_t k = 0; k < G_N_ELEMENTS(cases); k++) {
                uint64_t at, last = 0;
                unsigned n_places = 0;

                for (unsigned i = 0; i <= 1 << 15; i++) {
                        uint64_t random = i == 1 << 15 ? UINT64_MAX : (uint64_t) i << 49;

                        g_assert_cmpint(address_pick(taken, G_N_ELEMENTS(taken), cases[k].length, GRANULE, random, &at),
                                        ==, 0);
                        g_assert_null(address_conflict(taken, G_N_ELEMENTS(taken), at, cases[k].length));
                        g_assert_cmpuint(at, >=, last);
                        n_places += at != last;
                        last = at;
                }
                g_assert_cmpuint(n_places, ==, cases[k].n);
        }
}

static void test_stated_addresses_are_checked(void) {
        static const struct {
                uint64_t start, length;
                int r;
        } cases[] = {
                { 20 * TiB, GRANULE, 0 },
                { 20 * TiB + 4096, GRANULE, -EINVAL },
                { 20 * TiB, 4096, -EINVAL },
                { 0, GRANULE, -ERANGE },
                { GRANULE, 0, -ERANGE },
                { UINT64_MAX - GRANULE + 1, GRANULE, -ERANGE },
                { GRANULE, UINT64_MAX - GRANULE + 1, -ERANGE },
                { ADDRESS_HIGH_END - 2 * GRANULE, GRANULE, 0 },
                { ADDRESS_HIGH_END - GRANULE, GRANULE, -ERANGE },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                g_assert_cmpint(address_check(cases[i].start, cases[i].length, GRANULE), ==, cases[i].r);
}

static void test_rounding(void) {
        uint64_t v = 5;

        g_assert_cmpint(address_round_up(1, GRANULE, &v), ==, 0);
        g_assert_cmpuint(v, ==, GRANULE);
        g_assert_cmpint(address_round_up(GRANULE, GRANULE, &v), ==, 0);
        g_assert_cmpuint(v, ==, GRANULE);
        g_assert_cmpint(address_round_up(GRANULE + 1, GRANULE, &v), ==, 0);
        g_assert_cmpuint(v, ==, 2 * GRANULE);
        g_assert_cmpint(address_round_up(0, GRANULE, &v), ==, -ERANGE);
        g_assert_cmpint(address_round_up(UINT64_MAX, GRANULE, &v), ==, -ERANGE);
        g_assert_cmpuint(v, ==, 2 * GRANULE);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/address/process", test_no_default_collides_with_a_process);
        g_test_add_func("/address/real-processes", test_no_default_collides_with_real_processes);
        g_test_add_func("/address/sizes", test_windows_of_all_sizes_fit);
        g_test_add_func("/address/tables", test_windows_cost_one_table);
        g_test_add_func("/address/last", test_last_places_are_used);
        g_test_add_func("/address/holes", test_holes_are_found_again);
        g_test_add_func("/address/random", test_every_free_place_of_a_zone_may_be_chosen);
        g_test_add_func("/address/stated", test_stated_addresses_are_checked);
        g_test_add_func("/address/rounding", test_rounding);
        return g_test_run();
}
