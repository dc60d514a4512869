/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The part of the donor process that maps new memory in a region: for a creation all of it, for a resize what is added. It makes
 * its calls through KernelOps, and knows nothing about names, owners or limits.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "kernel/donor-child.h"
#include "kernel/donor-map.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* How much is populated in one go: small enough to be killed and to report in between. */
#define POPULATE_CHUNK (UINT64_C(64) << 20)
/* What is left to others. */
#define POPULATE_RESERVE (UINT64_C(32) << 20)
#define MEMORY_PATIENCE_USEC (3 * USEC_PER_SEC)
#define MEMORY_INTERVAL_USEC (50 * USEC_PER_MSEC)
#define REPORT_EVERY_USEC (100 * USEC_PER_MSEC)

/* The file for length bytes of new memory, or -1 if it needs none; and how it can be mapped. */
static int open_backing(const DonorSpec *spec, uint64_t length, int *ret_fd, int *ret_prot) {
        struct stat st;
        int fd, flags;

        *ret_prot = PROT_READ | PROT_WRITE;
        *ret_fd = -1;
        if (spec->backing == BACKING_MEMFD) {
                fd = memfd_create(spec->name, MFD_CLOEXEC);
                if (fd < 0)
                        return donor_failed(DONOR_FILE, errno, 0);
                if (ftruncate(fd, (off_t) length) < 0)
                        return donor_failed(DONOR_FILE, errno, 0);
                *ret_fd = fd;
        } else if (spec->backing == BACKING_FILE) {
                fd = DONOR_FILE_FD;
                flags = fcntl(fd, F_GETFL);
                if (flags < 0 || fstat(fd, &st) < 0)
                        return donor_failed(DONOR_FILE, errno, 0);
                if (!S_ISREG(st.st_mode))
                        return donor_failed(DONOR_FILE, EBADF, st.st_mode);
                if ((uint64_t) st.st_size < length)
                        return donor_failed(DONOR_FILE, ERANGE, (uint64_t) st.st_size);
                if ((flags & O_ACCMODE) == O_RDONLY)
                        *ret_prot = PROT_READ;
                *ret_fd = fd;
        }
        return 0;
}

static int advise(const DonorSpec *spec, void *p, uint64_t length) {
        if (spec->hugepages == HUGEPAGES_DEFAULT)
                return 0;
        if (madvise(p, length, spec->hugepages == HUGEPAGES_NEVER ? MADV_NOHUGEPAGE : MADV_HUGEPAGE) == 0)
                return 0;
        /* "advise" is a wish. The other two are orders. */
        if (spec->hugepages == HUGEPAGES_ADVISE)
                return 0;
        return donor_failed(DONOR_ADVISE, errno, 0);
}

/* The policy belongs to the region's memory: it applies whichever process touches a page first. */
static int set_policy(const KernelOps *ops, const DonorSpec *spec, void *p, uint64_t length) {
        int r;

        if (spec->numa.mode == NUMA_DEFAULT)
                return 0;
        r = ops->set_policy(p, length, &spec->numa);
        return r < 0 ? donor_failed(DONOR_POLICY, -r, 0) : 0;
}

/*
 * If memory runs out, the kernel kills this process and then others, because the populated memory belongs to the region and
 * is not freed with this process. So never use up all memory. A file's pages can be written back, and huge pages have a pool
 * of their own. A region that was removed a moment ago is freed step by step: wait as long as the available memory grows.
 */
static int wait_for_memory(const KernelOps *ops, const DonorSpec *spec, uint64_t done, uint64_t want) {
        uint64_t available, most = 0, since = usec_now(CLOCK_MONOTONIC);

        if (spec->backing == BACKING_FILE || spec->backing == BACKING_HUGETLB)
                return 0;
        for (;;) {
                if (ops->available(&spec->numa, &available) < 0 ||
                    (want <= available && available - want >= POPULATE_RESERVE))
                        return 0;
                if (available > most) {
                        most = available;
                        since = usec_now(CLOCK_MONOTONIC);
                }
                if (usec_now(CLOCK_MONOTONIC) - since > MEMORY_PATIENCE_USEC)
                        return donor_failed(DONOR_MEMORY, ENOMEM, done);
                (void) usleep(MEMORY_INTERVAL_USEC);
        }
}

static int populate(const KernelOps *ops, const DonorSpec *spec, char *p, uint64_t length, int prot) {
        uint64_t done = 0, last = usec_now(CLOCK_MONOTONIC);
        int r;

        r = wait_for_memory(ops, spec, 0, length);
        if (r < 0)
                return r;
        while (done < length) {
                uint64_t now, n = length - done < POPULATE_CHUNK ? length - done : POPULATE_CHUNK;

                r = wait_for_memory(ops, spec, done, n);
                if (r < 0)
                        return r;
                if (madvise(p + done, n, prot & PROT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) < 0) {
                        if (errno == EINTR || errno == EAGAIN)
                                continue;
                        return donor_failed(DONOR_POPULATE, errno, done);
                }
                done += n;
                now = usec_now(CLOCK_MONOTONIC);
                if (now - last >= REPORT_EVERY_USEC) {
                        donor_report(DONOR_PROGRESS, DONOR_POPULATE, 0, done);
                        last = now;
                }
        }
        return 0;
}

int donor_map(const KernelOps *ops, const DonorSpec *spec, uint64_t from, uint64_t to) {
        void *want = (void *) (uintptr_t) (spec->address + from);
        /* In a region that has sharers, one of them may have mapped something of its own there. */
        int flags = MAP_SHARED | MAP_FIXED_NOREPLACE, fd, prot, r;
        uint64_t length = to - from;
        char *p;

        r = open_backing(spec, length, &fd, &prot);
        if (r < 0)
                return r;
        if (fd < 0)
                flags |= MAP_ANONYMOUS;
        /* Huge pages are reserved, so that their lack shows now and not as a SIGBUS in some client. */
        flags |= spec->backing == BACKING_HUGETLB ? MAP_HUGETLB : MAP_NORESERVE;
        p = mmap(want, length, prot, flags, fd, 0);
        if (p == MAP_FAILED)
                return donor_failed(DONOR_MMAP, errno, from);
        donor_report(DONOR_CREATED, DONOR_MMAP, 0, 0);
        r = advise(spec, p, length);
        if (r >= 0)
                r = set_policy(ops, spec, p, length);
        if (r < 0 || !spec->populate)
                return r;
        return populate(ops, spec, p, length, prot);
}
