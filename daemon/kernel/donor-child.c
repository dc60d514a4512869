/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The donor process itself ("mshared --donor"): creates the region, maps its memory and populates it, and reports to the daemon
 * through a pipe. It knows no bus and no limits.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "kernel/donor.h"

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

static void report(DonorReportKind kind, DonorStage stage, int error, uint64_t value) {
        DonorReport r = { .kind = kind, .stage = stage, .error = error, .value = value };

        while (write(DONOR_REPORT_FD, &r, sizeof(r)) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE); /* the daemon has exited and cannot finish or undo our work */
}

static int failed(DonorStage stage, int error, uint64_t value) {
        report(DONOR_FAILED, stage, error, value);
        return -error;
}

/* The donor works with its own permissions: what it maps is its own or was opened by the caller. */
static void drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        if (geteuid() == 0)
                return;
        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        (void) syscall(SYS_capset, &header, data);
}

/*
 * The kernel should kill the broker last when memory is short, and the donor inherits that. But a donor that populates a
 * region that is too large for the machine must be killed first: this frees the region, while any other process frees little.
 */
static void be_expendable(void) {
        _cleanup_(closep) int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

        if (fd >= 0)
                (void) !write(fd, "1000", 4);
}

/*
 * The kernel takes a creator's mappings in the range into the region: nothing of this process itself, neither its code
 * nor its stack, may become everybody's.
 */
static int check_range(const DonorSpec *spec) {
        void *want = (void *) (uintptr_t) spec->address, *p;
        int e;

        p = mmap(want, spec->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
                 0);
        if (p == MAP_FAILED)
                return failed(DONOR_RANGE, errno, 0);
        e = p == want ? 0 : ENOMEM;
        if (munmap(p, spec->length) < 0)
                e = errno;
        return e ? failed(DONOR_RANGE, e, 0) : 0;
}

static int open_backing(const DonorSpec *spec, int *ret_fd, int *ret_prot) {
        struct stat st;
        int fd, flags;

        *ret_prot = PROT_READ | PROT_WRITE;
        *ret_fd = -1;
        if (spec->backing == BACKING_MEMFD) {
                fd = memfd_create(spec->name, MFD_CLOEXEC);
                if (fd < 0)
                        return failed(DONOR_FILE, errno, 0);
                if (ftruncate(fd, (off_t) spec->size) < 0)
                        return failed(DONOR_FILE, errno, 0);
                *ret_fd = fd;
        } else if (spec->backing == BACKING_FILE) {
                fd = DONOR_FILE_FD;
                flags = fcntl(fd, F_GETFL);
                if (flags < 0 || fstat(fd, &st) < 0)
                        return failed(DONOR_FILE, errno, 0);
                if (!S_ISREG(st.st_mode))
                        return failed(DONOR_FILE, EBADF, st.st_mode);
                if ((uint64_t) st.st_size < spec->size)
                        return failed(DONOR_FILE, ERANGE, (uint64_t) st.st_size);
                if ((flags & O_ACCMODE) == O_RDONLY)
                        *ret_prot = PROT_READ;
                *ret_fd = fd;
        }
        return 0;
}

static int advise(const DonorSpec *spec, void *p) {
        if (spec->hugepages == HUGEPAGES_DEFAULT)
                return 0;
        if (madvise(p, spec->size, spec->hugepages == HUGEPAGES_NEVER ? MADV_NOHUGEPAGE : MADV_HUGEPAGE) == 0)
                return 0;
        /* "advise" is a wish. The other two are orders. */
        if (spec->hugepages == HUGEPAGES_ADVISE)
                return 0;
        return failed(DONOR_ADVISE, errno, 0);
}

/* The kernel would leave out nodes that it cannot use, and say nothing. */
static int check_nodes(const KernelOps *ops, const DonorSpec *spec) {
        NumaNodes nodes;
        int node, r;

        if (spec->numa.mode == NUMA_DEFAULT)
                return 0;
        r = ops->nodes(&nodes);
        if (r < 0)
                return failed(DONOR_NODES, -r, 0);
        node = spec->numa.mode == NUMA_BIND ? numa_first_missing(&spec->numa.nodes, &nodes) : -1;
        return node < 0 ? 0 : failed(DONOR_NODES, EINVAL, (uint64_t) node);
}

/* The policy belongs to the region's memory: it holds for whoever touches a page first. */
static int set_policy(const KernelOps *ops, const DonorSpec *spec, void *p) {
        int r;

        if (spec->numa.mode == NUMA_DEFAULT)
                return 0;
        r = ops->set_policy(p, spec->size, &spec->numa);
        return r < 0 ? failed(DONOR_POLICY, -r, 0) : 0;
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
                        return failed(DONOR_MEMORY, ENOMEM, done);
                (void) usleep(MEMORY_INTERVAL_USEC);
        }
}

static int populate(const KernelOps *ops, const DonorSpec *spec, char *p, int prot) {
        uint64_t done = 0, last = usec_now(CLOCK_MONOTONIC);
        int r;

        r = wait_for_memory(ops, spec, 0, spec->size);
        if (r < 0)
                return r;
        while (done < spec->size) {
                uint64_t now, n = spec->size - done < POPULATE_CHUNK ? spec->size - done : POPULATE_CHUNK;

                r = wait_for_memory(ops, spec, done, n);
                if (r < 0)
                        return r;
                if (madvise(p + done, n, prot & PROT_WRITE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) < 0) {
                        if (errno == EINTR || errno == EAGAIN)
                                continue;
                        return failed(DONOR_POPULATE, errno, done);
                }
                done += n;
                now = usec_now(CLOCK_MONOTONIC);
                if (now - last >= REPORT_EVERY_USEC) {
                        report(DONOR_PROGRESS, DONOR_POPULATE, 0, done);
                        last = now;
                }
        }
        return 0;
}

static int map_backing(const KernelOps *ops, const DonorSpec *spec) {
        int flags = MAP_SHARED | MAP_FIXED, fd, prot, r;
        char *p;

        r = open_backing(spec, &fd, &prot);
        if (r < 0)
                return r;
        if (fd < 0)
                flags |= MAP_ANONYMOUS;
        /* Huge pages are reserved, so that their lack shows now and not as a SIGBUS in some client. */
        flags |= spec->backing == BACKING_HUGETLB ? MAP_HUGETLB : MAP_NORESERVE;
        p = mmap((void *) (uintptr_t) spec->address, spec->size, prot, flags, fd, 0);
        if (p == MAP_FAILED)
                return failed(DONOR_MMAP, errno, 0);
        r = advise(spec, p);
        if (r >= 0)
                r = set_policy(ops, spec, p);
        if (r < 0 || !spec->populate)
                return r;
        return populate(ops, spec, p, prot);
}

static int parse_spec(char **argv, DonorSpec *ret) {
        int backing = backing_from_string(argv[2]), hugepages = hugepages_from_string(argv[3]);
        AddressRange window;

        *ret = (DonorSpec){ .name = argv[0] };
        if (parse_u64(argv[1], 10, &ret->size) < 0 || numa_parse(argv[4], &ret->numa) < 0 ||
            parse_bool(argv[5], &ret->populate) < 0 || backing < 0 || hugepages < 0)
                return -EINVAL;
        if (read(DONOR_WINDOW_FD, &window, sizeof(window)) != sizeof(window))
                return -EINVAL;
        (void) close(DONOR_WINDOW_FD);
        ret->address = window.start;
        ret->length = window.length;
        ret->backing = (Backing) backing;
        ret->hugepages = (HugePages) hugepages;
        return 0;
}

int donor_main(const KernelOps *ops, int argc, char **argv) {
        DonorSpec spec;
        int r;

        if (argc != 6 || fcntl(DONOR_REPORT_FD, F_GETFD) < 0 || parse_spec(argv, &spec) < 0) {
                (void) fprintf(stderr, "mshared --donor is for internal use by mshared.\n");
                return 2;
        }
        drop_capabilities();
        be_expendable();
        /* A parent that is gone before this is noticed at the first report. */
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);

        if (check_nodes(ops, &spec) < 0 || check_range(&spec) < 0)
                return EXIT_FAILURE;
        /* Mode 0: no other process can attach until the daemon has set owner and mode. */
        r = ops->mshare(spec.name, spec.address, spec.length, O_CREAT | O_EXCL | O_RDWR, 0);
        if (r < 0) {
                (void) failed(DONOR_MSHARE, -r, 0);
                return EXIT_FAILURE;
        }
        report(DONOR_CREATED, DONOR_MSHARE, 0, 0);
        if (spec.backing != BACKING_EMPTY && map_backing(ops, &spec) < 0)
                return EXIT_FAILURE;
        report(DONOR_DONE, DONOR_POPULATE, 0, spec.size);
        return EXIT_SUCCESS;
}
