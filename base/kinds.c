/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One table for each kind of word in kinds.h: backings, huge pages, lifetimes, access. The two states of a region need none. It
 * knows neither the bus nor the kernel.
 */

#include <errno.h>
#include <string.h>

#include "kinds.h"
#include "macro.h"

static const char *const backings[_BACKING_MAX] = { "anonymous", "memfd", "hugetlb", "file", "empty", "unknown" };
static const char *const hugepages[_HUGEPAGES_MAX] = { "default", "never", "advise", "always" };
static const char *const lifetimes[_LIFETIME_MAX] = { "persistent", "while-leased" };

static const struct {
        Access access;
        const char *word;
} accesses[] = { { ACCESS_READ, "r" }, { ACCESS_READ_WRITE, "rw" } };

static int find(const char *const *table, int n, const char *s) {
        for (int i = 0; i < n; i++)
                if (streq(table[i], s))
                        return i;
        return -EINVAL;
}

const char *backing_to_string(Backing b) {
        return backings[b];
}

int backing_from_string(const char *s) {
        return find(backings, _BACKING_MAX, s);
}

int backing_parse(const char *s) {
        int r = backing_from_string(s);

        return r == BACKING_UNKNOWN ? -EINVAL : r;
}

const char *hugepages_to_string(HugePages h) {
        return hugepages[h];
}

int hugepages_from_string(const char *s) {
        return find(hugepages, _HUGEPAGES_MAX, s);
}

int hugepages_parse(const char *s) {
        int r = hugepages_from_string(s);

        return r == HUGEPAGES_DEFAULT ? -EINVAL : r;
}

const char *lifetime_to_string(Lifetime l) {
        return lifetimes[l];
}

int lifetime_parse(const char *s) {
        return find(lifetimes, _LIFETIME_MAX, s);
}

const char *access_to_string(Access access) {
        for (size_t i = 0; i < ELEMENTSOF(accesses); i++)
                if (accesses[i].access == access)
                        return accesses[i].word;
        return NULL;
}

const char *state_to_string(bool ready) {
        return ready ? STATE_READY : STATE_CREATING;
}

int access_from_string(const char *s) {
        for (size_t i = 0; i < ELEMENTSOF(accesses); i++)
                if (streq(accesses[i].word, s))
                        return (int) accesses[i].access;
        return -EINVAL;
}
