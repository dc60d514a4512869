/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bound MIB: how long one sharer waits for its mprotect() of a page while another works on MIB of the same region.
 *
 * Run it in a guest of ./run guest --icount, which has one CPU and counts instructions as nanoseconds. A timer wakes
 * the waiter in the middle of the other's work; it then waits for the rest of one hold of the region's lock. Only the
 * zero page is mapped, so that the size of the region does not cost memory. Prints the median and the longest of many
 * rounds for each kind of work, and for no work ("alone").
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "bench.h"
#include "mshare.h"

#define ROUNDS 40
#define NAME "bound"

static char *big, *page;
static size_t length;

static void map_zero_pages(void) {
        if (mmap(big, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
            MAP_FAILED)
                err(1, "mmap");
        (void) madvise(big, length, MADV_NOHUGEPAGE);
        if (madvise(big, length, MADV_POPULATE_READ) < 0)
                err(1, "MADV_POPULATE_READ");
}

static int read_all(const char *path) {
        static char buffer[65536];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -1;
        do
                n = read(fd, buffer, sizeof(buffer));
        while (n > 0);
        (void) close(fd);
        return (int) n;
}

static int work_populate(void) {
        return madvise(big, length, MADV_POPULATE_READ);
}

static int work_smaps(void) {
        return read_all("/proc/self/smaps");
}

static int work_rollup(void) {
        return read_all("/proc/self/smaps_rollup");
}

static int work_mincore(void) {
        static unsigned char vector[1 << 20];

        for (size_t i = 0; i < length; i += sizeof(vector) * PAGE)
                if (mincore(big + i, length - i < sizeof(vector) * PAGE ? length - i : sizeof(vector) * PAGE, vector) <
                    0)
                        return -1;
        return 0;
}

/* Pins that fast GUP makes without a lock; what it leaves to the slow path is measured here. */
static int work_readv(void) {
        static char buffer[1 << 20];
        struct iovec local = { buffer, sizeof(buffer) }, remote = { big, sizeof(buffer) };

        return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) < 0 ? -1 : 0;
}

static int work_cold(void) {
        return madvise(big, length, MADV_COLD);
}

static int work_dontneed(void) {
        return madvise(big, length, MADV_DONTNEED) < 0 ? -1 : madvise(big, length, MADV_POPULATE_READ);
}

static int work_mprotect(void) {
        static int prot = PROT_READ;

        prot ^= PROT_WRITE;
        return mprotect(big, length, prot);
}

static int work_mlock(void) {
        return mlock2(big, length, MLOCK_ONFAULT) < 0 ? -1 : munlock(big, length);
}

static int work_map_over(void) {
        map_zero_pages();
        return 0;
}

static int work_munmap(void) {
        if (munmap(big, length) < 0)
                return -1;
        map_zero_pages();
        return 0;
}

typedef struct Work {
        const char *name;
        int (*fn)(void);
        int oflag;
} Work;

static const Work works[] = {
        { "alone", NULL, 0 },
        { "MADV_POPULATE_READ", work_populate, O_RDONLY },
        { "smaps", work_smaps, O_RDONLY },
        { "smaps_rollup", work_rollup, O_RDONLY },
        { "mincore", work_mincore, O_RDONLY },
        { "process_vm_readv", work_readv, O_RDONLY },
        { "MADV_COLD", work_cold, O_RDWR },
        { "MADV_DONTNEED", work_dontneed, O_RDWR },
        { "mprotect", work_mprotect, O_RDWR },
        { "mlock2+munlock", work_mlock, O_RDWR },
        { "mmap-over", work_map_over, O_RDWR },
        { "munmap", work_munmap, O_RDWR },
};

static pid_t start(const Work *work, size_t window) {
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                err(1, "fork");
        if (pid > 0)
                return pid;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(1);
        if (munmap(REGION_ADDRESS, window) < 0 || mshare(NAME, REGION_ADDRESS, window, work->oflag, 0) < 0)
                err(1, "attach");
        for (;;)
                if (work->fn() < 0)
                        err(1, "%s", work->name);
}

static int compare(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

static void measure(const Work *work, size_t window) {
        uint64_t took[ROUNDS], begin;
        bool extra = extra_faults();
        pid_t pid = work->fn ? start(work, window) : 0;

        for (int i = 0; i < ROUNDS; i++) {
                /* Odd lengths, so that the timer does not hit the same point of the work every time. */
                (void) usleep((useconds_t) (3000 + i * 137 % 2000));
                begin = now_nsec();
                if (extra)
                        extra_fault(page, PAGE);
                if (mprotect(page, PAGE, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ) < 0)
                        err(1, "mprotect");
                took[i] = now_nsec() - begin;
        }
        if (pid > 0) {
                if (waitpid(pid, NULL, WNOHANG) != 0)
                        errx(1, "%s: the other process has exited", work->name);
                (void) kill(pid, SIGKILL);
                (void) waitpid(pid, NULL, 0);
        }
        qsort(took, ROUNDS, sizeof(*took), compare);
        printf("mib=%zu work=%s median=%llu worst=%llu\n", length >> 20, work->name,
               (unsigned long long) took[ROUNDS / 2], (unsigned long long) took[ROUNDS - 1]);
        (void) fflush(stdout);
}

int main(int argc, char **argv) {
        size_t window = granule();

        if (argc != 2)
                errx(2, "usage: bound MIB");
        length = (size_t) atol(argv[1]) << 20;
        while (window < (length + (1UL << 30)))
                window += granule();
        page = REGION_ADDRESS;
        big = page + (1 << 30);

        (void) mshare_unlink(NAME);
        if (mshare(NAME, REGION_ADDRESS, window, O_CREAT | O_EXCL | O_RDWR, 0600) < 0)
                err(1, "mshare");
        if (mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
                err(1, "mmap");
        *(volatile char *) page = 1;
        map_zero_pages();

        for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
                measure(&works[i], window);
        return mshare_unlink(NAME) < 0;
}
