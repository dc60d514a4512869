/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Populates memory of a region, step by step. The donor does this for callers of the broker. mshare-region does it itself,
 * because the process that touches a page first is charged for it. This file knows neither names nor how the memory was mapped.
 */

#include <errno.h>
#include <fcntl.h>

#include "kernel/populate.h"

/* Populated with one call: so little that the process can be killed and report progress in between. */
#define POPULATE_CHUNK (UINT64_C(64) << 20)
/* What is left for other processes. */
#define POPULATE_RESERVE (UINT64_C(32) << 20)
/* How long to wait while the available memory does not grow, and how often to look. */
#define MEMORY_PATIENCE_USEC (3 * USEC_PER_SEC)
#define MEMORY_INTERVAL_USEC (50 * USEC_PER_MSEC)
#define PROGRESS_USEC (100 * USEC_PER_MSEC)

/*
 * If memory runs out, the kernel kills this process and then others, because the populated memory belongs to the region and is
 * not freed with this process. So never use up all memory. A file's pages can be written back, and huge pages have a pool of
 * their own. A region that was removed a moment ago is freed step by step, so wait as long as the available memory grows.
 */
static bool wait_for_memory(const KernelOps *ops, const PopulateSpec *spec, uint64_t want) {
        uint64_t available, most = 0, since = usec_now(CLOCK_MONOTONIC);

        if (spec->backing == BACKING_FILE || spec->backing == BACKING_HUGETLB)
                return true;
        for (;;) {
                if (ops->available(spec->numa, &available) < 0 ||
                    (want <= available && available - want >= POPULATE_RESERVE))
                        return true;
                if (available > most) {
                        most = available;
                        since = usec_now(CLOCK_MONOTONIC);
                }
                if (usec_now(CLOCK_MONOTONIC) - since > MEMORY_PATIENCE_USEC)
                        return false;
                (void) usleep(MEMORY_INTERVAL_USEC);
        }
}

PopulateResult populate(const KernelOps *ops, const PopulateSpec *spec, PopulateProgress progress, void *userdata) {
        uint64_t done = 0, last = usec_now(CLOCK_MONOTONIC);
        int r;

        if (!wait_for_memory(ops, spec, spec->length))
                return (PopulateResult){ .end = POPULATE_UNAVAILABLE, .error = ENOMEM };
        while (done < spec->length) {
                uint64_t now, n = spec->length - done < POPULATE_CHUNK ? spec->length - done : POPULATE_CHUNK;

                if (!wait_for_memory(ops, spec, n))
                        return (PopulateResult){ .end = POPULATE_UNAVAILABLE, .error = ENOMEM, .done = done };
                r = ops->populate(spec->start + done, n, spec->writable);
                if (r == -EINTR || r == -EAGAIN)
                        continue;
                if (r < 0)
                        return (PopulateResult){ .end = POPULATE_REFUSED, .error = -r, .done = done };
                done += n;
                now = usec_now(CLOCK_MONOTONIC);
                if (now - last >= PROGRESS_USEC) {
                        progress(done, userdata);
                        last = now;
                }
        }
        return (PopulateResult){ .end = POPULATE_DONE, .done = done };
}

void be_expendable(void) {
        _cleanup_(closep) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0)
                (void) !write(fd, "1000", 4);
}
