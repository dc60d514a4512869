/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The part of the donor process that maps new memory in a region: all of it for a creation, what is added for a resize. It
 * makes its calls through KernelOps, and knows nothing about names, owners or limits.
 */

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "kernel/donor-map.h"
#include "kernel/donor-report.h"
#include "kernel/populate.h"

/* The file for length bytes of new memory, or -1 if that needs no file, and the protection to map it with. */
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
                fd = spec->fd;
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
        /* If "advise" fails, the region works without huge pages. "always" and "never" must not fail. */
        if (spec->hugepages == HUGEPAGES_ADVISE)
                return 0;
        return donor_failed(DONOR_ADVISE, errno, 0);
}

/* The policy belongs to the memory of the region. It applies to each page, whichever process touches it first. */
static int set_policy(const KernelOps *ops, const DonorSpec *spec, void *p, uint64_t length) {
        int r;

        if (spec->numa.mode == NUMA_DEFAULT)
                return 0;
        r = ops->set_policy(p, length, &spec->numa);
        return r < 0 ? donor_failed(DONOR_POLICY, -r, 0) : 0;
}

static void report_progress(uint64_t done, void *userdata) {
        donor_report(DONOR_PROGRESS, DONOR_POPULATE, 0, done);
}

static int populate_new(const KernelOps *ops, const DonorSpec *spec, char *p, uint64_t length, bool writable) {
        const PopulateSpec memory = {
                .start = p,
                .length = length,
                .backing = spec->backing,
                .numa = &spec->numa,
                .writable = writable,
        };
        PopulateResult result = populate(ops, &memory, report_progress, NULL);

        if (result.end == POPULATE_DONE)
                return 0;
        return donor_failed(result.end == POPULATE_UNAVAILABLE ? DONOR_MEMORY : DONOR_POPULATE, result.error,
                            result.done);
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
        /* Reserve huge pages, so that a lack of them fails here and is not a SIGBUS in a client. */
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
        return populate_new(ops, spec, p, length, prot & PROT_WRITE);
}
