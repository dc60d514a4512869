/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The part of the donor process that changes how much of a region is mapped. Sharers can change the region's mappings at any
 * time, as threads of one process can, so nothing here relies on what an earlier call has seen. It knows neither owners nor
 * limits.
 */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/mman.h>

#include "kernel/donor-map.h"
#include "kernel/donor-report.h"
#include "kernel/donor-resize.h"
#include "model/address.h"

typedef struct Mapping {
        uint64_t start, end; /* addresses */
        const char *path;
} Mapping;

/* Calls found() for what the region maps within [start, end) until it returns nonzero, which is returned then. */
static int for_each_mapping(const KernelOps *ops, int fd, uint64_t start, uint64_t end,
                            int (*found)(const Mapping *mapping, void *userdata), void *userdata) {
        _cleanup_(freep) char *line = NULL;
        _cleanup_(fclosep) FILE *f = NULL;
        size_t size = 0;
        int listing, r;

        r = ops->listing(fd, &listing);
        if (r < 0)
                return r;
        f = fdopen(listing, "r");
        if (!f) {
                r = -errno;
                safe_close(listing);
                return r;
        }
        errno = 0;
        while (getline(&line, &size, f) > 0) {
                Mapping m;
                int n = 0;

                line[strcspn(line, "\n")] = 0;
                if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %*s %n", &m.start, &m.end, &n) != 2 || n == 0)
                        return -EBADMSG;
                m.path = line + n;
                if (m.end <= start || m.start >= end)
                        continue;
                m.start = m.start > start ? m.start : start;
                m.end = m.end < end ? m.end : end;
                r = found(&m, userdata);
                if (r != 0)
                        return r;
        }
        return ferror(f) ? (errno > 0 ? -errno : -EIO) : 0;
}

/* Whether the memory belongs to the region alone. A file may be in use elsewhere, so its content must not be removed. */
static bool is_own_memory(const DonorSpec *spec, const char *path) {
        char memfd[NAME_MAX + 32];

        (void) snprintf(memfd, sizeof(memfd), "/memfd:%s (deleted)", spec->name);
        return streq(path, spec->backing == BACKING_MEMFD ? memfd : "/dev/zero (deleted)");
}

/*
 * Unmapping alone would free nothing: the rest of the object stays mapped, and the object keeps its pages. The memory is
 * protected first, so that a process that still uses the end gets a signal. It must not read zeros or add pages again.
 */
static int give_back(const Mapping *m, void *userdata) {
        void *p = (void *) (uintptr_t) m->start;
        size_t n = m->end - m->start;

        if (!is_own_memory(userdata, m->path))
                return 0;
        /* Locked memory is not removed. ENOMEM: another process has unmapped it. */
        if ((mprotect(p, n, PROT_NONE) < 0 || munlock(p, n) < 0 || madvise(p, n, MADV_REMOVE) < 0) && errno != ENOMEM)
                return -errno;
        return 0;
}

static int cut(const KernelOps *ops, const DonorSpec *spec, uint64_t from, uint64_t to) {
        int r = 0;

        if (from >= to)
                return 0;
        donor_report(DONOR_CREATED, DONOR_CUT, 0, 0);
        if (spec->backing != BACKING_FILE)
                r = for_each_mapping(ops, spec->fd, spec->address + from, spec->address + to, give_back, (void *) spec);
        if (r >= 0 && munmap((void *) (uintptr_t) (spec->address + from), to - from) < 0)
                r = -errno;
        return r < 0 ? donor_failed(DONOR_CUT, -r, 0) : 0;
}

static int take_start(const Mapping *m, void *userdata) {
        *(uint64_t *) userdata = m->start;
        return 1;
}

/* mmap() would fail with EEXIST, too, but would not say where. */
static int check_free(const KernelOps *ops, const DonorSpec *spec, uint64_t from, uint64_t to) {
        uint64_t taken = spec->address + from;
        int r;

        r = for_each_mapping(ops, spec->fd, spec->address + from, spec->address + to, take_start, &taken);
        if (r < 0)
                return donor_failed(DONOR_MMAP, -r, from);
        return r > 0 ? donor_failed(DONOR_MMAP, EEXIST, taken - spec->address) : 0;
}

int donor_resize(const KernelOps *ops, const DonorSpec *spec) {
        uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE), keep, size, extent;
        int r;

        /* The kernel maps whole pages. */
        if (address_round_up(spec->keep, page, &keep) < 0 || address_round_up(spec->size, page, &size) < 0 ||
            address_round_up(spec->extent, page, &extent) < 0 || size > spec->length || extent > spec->length)
                return donor_failed(DONOR_START, EINVAL, 0);
        r = ops->attach(spec->fd, spec->address, spec->length);
        if (r < 0)
                return donor_failed(DONOR_ATTACH, -r, 0);
        if (size > extent) {
                r = check_free(ops, spec, extent, size);
                if (r < 0)
                        return r;
        }
        r = cut(ops, spec, keep < size ? keep : size, extent);
        return r < 0 || size <= keep ? r : donor_map(ops, spec, keep, size);
}
