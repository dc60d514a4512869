/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Chooses and checks the windows of regions. This is plain arithmetic: nothing here asks the kernel or knows a region. */

#include <errno.h>
#include <stdbool.h>

#include "basic/util.h"
#include "model/address.h"

#define TiB (UINT64_C(1) << 40)

/*
 * Where default addresses come from, best first. On x86_64 with 47 bits of user space and vm.mmap_rnd_bits at its
 * largest (32, that is up to 16 TiB of offset):
 *
 *   0 to 16 TiB           fixed executables and their heap (from 4 MiB), language run times that like low memory (Go at
 *                         0.75 TiB), the shadow of AddressSanitizer (up to 16 TiB)
 *   5.33 to 21.33 TiB     mmap base (growing down from there) of a process with an unlimited stack
 *   42.67 to 58.67 TiB    the mmap base of the legacy layout, growing up
 *   80 to 84 TiB          the heap of AddressSanitizer of gcc 14 and clang 17, and its tables just above
 *   85.33 to 101.33 TiB   position-independent executables, and their heap after them; the older AddressSanitizer's heap
 *   112 to 128 TiB        mmap base (growing down from there), vdso, stack
 *
 * What lies between the second and the third is free in every process. Next best is what a legacy layout reaches only with
 * more than 4 TiB of mappings, and last what a heap of 2 TiB or other mappings of 4 TiB reach if chance is against them.
 */
static const struct {
        uint64_t start, end;
} zones[] = {
        { 43 * TiB / 2, 85 * TiB / 2 },
        { 63 * TiB, 80 * TiB },
        { 207 * TiB / 2, 108 * TiB },
};

int address_round_up(uint64_t size, uint64_t granule, uint64_t *ret) {
        uint64_t v;

        if (size == 0 || __builtin_add_overflow(size, granule - 1, &v))
                return -ERANGE;
        *ret = v - v % granule;
        return 0;
}

const AddressRange *address_conflict(const AddressRange *ranges, size_t n, uint64_t start, uint64_t length) {
        for (size_t i = 0; i < n; i++)
                if (start < ranges[i].start + ranges[i].length && ranges[i].start < start + length)
                        return ranges + i;
        return NULL;
}

int address_check(uint64_t start, uint64_t length, uint64_t granule) {
        if (start % granule != 0 || length % granule != 0)
                return -EINVAL;
        if (start == 0 || length == 0 || start > ADDRESS_HIGH_END - granule ||
            length > ADDRESS_HIGH_END - granule - start)
                return -ERANGE;
        return 0;
}

uint64_t address_default_size(void) {
        return address_default_part(0, ADDRESS_LOW_END);
}

uint64_t address_default_part(uint64_t start, uint64_t length) {
        uint64_t end = start + length, sum = 0;

        for (size_t i = 0; i < ELEMENTSOF(zones); i++) {
                uint64_t from = start > zones[i].start ? start : zones[i].start;
                uint64_t to = end < zones[i].end ? end : zones[i].end;

                sum += to > from ? to - from : 0;
        }
        return sum;
}

static uint64_t align_up(uint64_t v, uint64_t align) {
        return v + (align - v % align) % align;
}

static int compare_start(const void *a, const void *b) {
        const AddressRange *x = a, *y = b;

        return x->start < y->start ? -1 : x->start > y->start;
}

/* What a place is: length bytes at a multiple of align that overlap none of the ranges, which are sorted and may overlap. */
typedef struct Search {
        const AddressRange *ranges;
        size_t n;
        uint64_t length, align;
} Search;

/*
 * Finds the free place with that number (from 0) in [start, end); if there are fewer, returns how many there are. Go from gap to
 * gap and not from place to place, because there are 20000 places of 1 GiB.
 */
static bool find_place(const Search *search, uint64_t start, uint64_t end, uint64_t number, uint64_t *ret) {
        const AddressRange *ranges = search->ranges;
        uint64_t length = search->length, align = search->align, at = start, found = 0;
        size_t n = search->n;

        for (size_t i = 0; i <= n; i++) {
                uint64_t gap_end = i < n && ranges[i].start < end ? ranges[i].start : end, first = align_up(at, align);

                if (first < gap_end && length <= gap_end - first) {
                        uint64_t row = (gap_end - first - length) / align + 1;

                        if (number - found < row) {
                                *ret = first + (number - found) * align;
                                return true;
                        }
                        found += row;
                }
                if (gap_end == end)
                        break;
                if (ranges[i].start + ranges[i].length > at)
                        at = ranges[i].start + ranges[i].length;
        }
        *ret = found;
        return false;
}

/* The same, for windows that each lie within one table's span. */
static bool find_place_in_span(const Search *search, uint64_t start, uint64_t end, uint64_t number, uint64_t *ret) {
        uint64_t found = 0;

        for (uint64_t at = start, next; at < end; at = next) {
                uint64_t v;

                next = at - at % ADDRESS_TABLE_SPAN + ADDRESS_TABLE_SPAN;
                if (next > end)
                        next = end;
                if (find_place(search, at, next, number - found, &v)) {
                        *ret = v;
                        return true;
                }
                found += v;
        }
        *ret = found;
        return false;
}

typedef bool (*FindPlace)(const Search *search, uint64_t start, uint64_t end, uint64_t number, uint64_t *ret);

static int pick(const Search *search, FindPlace find, uint64_t random, uint64_t *ret) {
        for (size_t i = 0; i < ELEMENTSOF(zones); i++) {
                uint64_t start = zones[i].start, end = zones[i].end, places;

                (void) find(search, start, end, UINT64_MAX, &places);
                if (places == 0)
                        continue;
                (void) find(search, start, end, (uint64_t) (((unsigned __int128) random * places) >> 64), ret);
                return 0;
        }
        return -ENOSPC;
}

int address_pick(const AddressRange *ranges, size_t n, uint64_t length, uint64_t granule, uint64_t random,
                 uint64_t *ret) {
        _cleanup_(freep) AddressRange *sorted = NULL;
        Search search;
        int r;

        sorted = calloc(n + 1, sizeof(*sorted));
        if (!sorted)
                return -ENOMEM;
        if (n > 0) {
                memcpy(sorted, ranges, n * sizeof(*sorted));
                qsort(sorted, n, sizeof(*sorted), compare_start);
        }
        /*
         * Each span that a window touches but does not fill costs a sharer a page of tables. So that there is at most one such
         * span, long windows begin at the start of a span, and short windows lie within one.
         */
        search = (Search){ .ranges = sorted, .n = n, .length = length, .align = granule };
        if (length < ADDRESS_TABLE_SPAN)
                r = pick(&search, find_place_in_span, random, ret);
        else {
                search.align = granule > ADDRESS_TABLE_SPAN ? granule : ADDRESS_TABLE_SPAN;
                r = pick(&search, find_place, random, ret);
                search.align = granule;
        }
        if (r == -ENOSPC)
                r = pick(&search, find_place, random, ret);
        return r;
}
