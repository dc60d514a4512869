/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Divides the broker's file descriptors between waiting calls and leases. It only counts, and knows neither calls nor leases.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "basic/util.h"
#include "model/limits.h"
#include "policy/descriptors.h"

/* Leases leave at least this many, for files that are read, donors, and everything that is not counted. */
#define RESERVED 256

static uint64_t get_max(void) {
        struct rlimit limit;

        return getrlimit(RLIMIT_NOFILE, &limit) < 0 ? 0 : limit.rlim_cur;
}

static uint64_t get_open(void) {
        _cleanup_(closep) int next = -1;
        struct stat st;

        /* Since Linux 6.2, the size of this directory is the number of open descriptors. */
        if (stat("/proc/self/fd", &st) >= 0 && st.st_size > 0)
                return (uint64_t) st.st_size;
        next = open("/", O_PATH | O_CLOEXEC);
        return next < 0 ? UINT64_MAX : (uint64_t) next;
}

static bool left(unsigned n_leases, uint64_t part) {
        uint64_t n = get_open();

        return n < n_leases || n - n_leases < part;
}

bool descriptors_left_for_call(unsigned n_leases) {
        return left(n_leases, get_max() / 4);
}

bool descriptors_left_for_caller(unsigned n_leases) {
        return left(n_leases, get_max() / 8 * 3);
}

bool descriptors_left_for_user(uint64_t mine, uint64_t theirs) {
        return share_is_left(mine, theirs, get_max() / 4);
}

bool descriptors_left_for_lease(unsigned n_leases, uint64_t n_own, bool stranger) {
        uint64_t max = get_max(), others = max / 8 * 3 > RESERVED ? max / 8 * 3 : RESERVED, leases;

        leases = max > others ? max - others : 0;
        if (n_leases >= leases)
                return false;
        return !stranger || share_is_left(n_own, n_leases - n_own, leases / 8 * 7);
}
