/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * unused STATE: what the kernel's memory management costs a process that uses no region, or has one and works beside it.
 *
 * STATE: none (no region on the machine), elsewhere (another process has one), window (this process has one, too), or
 * mapping: this process has a plain mapping where the window would be. That is what window compares with, since with one
 * mapping more the kernel's tree of them may get another level, and mmap() and munmap() then take much longer.
 * Meant for a guest run by ./run guest --icount, where one instruction is one nanosecond of the guest's clock: the
 * figures are counts.
 *
 * Prints a record for each operation: the least instructions that it took in any of the rounds. The least, because a
 * timer interrupt can only add.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/swap.h>
#include <sys/wait.h>

#include "bench.h"
#include "mshare.h"

#define PAGES 256
#define RECLAIMED 10000
#define ROUNDS 60
/* Ready for swapon() in the guest. */
#define SWAP_DEVICE "/dev/swap"

#define REGION "unused"
/* As large as the window of the smallest region; the stock kernel cannot say that. */
#define MAPPING ((size_t) 1 << 30)

static void make_region(void) {
        volatile char *p;

        if (mshare(REGION, REGION_ADDRESS, granule(), O_CREAT | O_EXCL | O_RDWR, 0600) < 0)
                err(1, "mshare");
        p = mmap(REGION_ADDRESS, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (p == MAP_FAILED)
                err(1, "mmap in the region");
        *p = 1;
}

static void make_mapping(void) {
        if (mmap(REGION_ADDRESS, MAPPING, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
                err(1, "mmap");
}

static void *map(size_t pages, int flags) {
        void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
                err(1, "mmap");
        return p;
}

/* One first touch each of PAGES pages. */
static uint64_t page_fault(int flags) {
        volatile char *p = map(PAGES, flags);
        bool extra = extra_faults();
        uint64_t start = now_nsec();

        for (size_t i = 0; i < PAGES; i++) {
                p[i * PAGE] = 1;
                if (extra)
                        extra_fault((char *) p + i * PAGE, PAGE);
        }
        start = now_nsec() - start;
        munmap((void *) p, PAGES * PAGE);
        return start / PAGES;
}

static uint64_t fault_private(void) {
        return page_fault(MAP_PRIVATE);
}

static uint64_t fault_shared(void) {
        return page_fault(MAP_SHARED);
}

static uint64_t mmap_munmap(void) {
        uint64_t start = now_nsec();

        for (int i = 0; i < PAGES; i++)
                munmap(map(1, MAP_PRIVATE), PAGE);
        return (now_nsec() - start) / PAGES;
}

/* With a resident page, so that there is a TLB to flush. */
static uint64_t mmap_touch_munmap(void) {
        uint64_t start = now_nsec();

        for (int i = 0; i < PAGES; i++) {
                char *p = map(1, MAP_PRIVATE);

                *(volatile char *) p = 1;
                munmap(p, PAGE);
        }
        return (now_nsec() - start) / PAGES;
}

static uint64_t mprotect_twice(void) {
        char *p = map(PAGES, MAP_PRIVATE);
        uint64_t start;

        memset(p, 1, PAGES * PAGE);
        start = now_nsec();
        for (int i = 0; i < PAGES; i++)
                if (mprotect(p, PAGE, PROT_READ) < 0 || mprotect(p, PAGE, PROT_READ | PROT_WRITE) < 0)
                        err(1, "mprotect");
        start = now_nsec() - start;
        munmap(p, PAGES * PAGE);
        return start / PAGES;
}

static uint64_t fork_exit(void) {
        uint64_t start = now_nsec();

        for (int i = 0; i < 8; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        err(1, "fork");
                if (pid == 0)
                        _exit(0);
                if (waitpid(pid, NULL, 0) != pid)
                        err(1, "waitpid");
        }
        return (now_nsec() - start) / 8;
}

/* Two processes pass a byte back and forth: two switches of mm per turn. */
static uint64_t context_switch(void) {
        int to[2], from[2];
        uint64_t start;
        char c = 0;
        pid_t pid;

        if (pipe(to) < 0 || pipe(from) < 0)
                err(1, "pipe");
        pid = fork();
        if (pid < 0)
                err(1, "fork");
        if (pid == 0) {
                close(to[1]);
                while (read(to[0], &c, 1) == 1)
                        if (write(from[1], &c, 1) != 1)
                                break;
                _exit(0);
        }
        start = now_nsec();
        for (int i = 0; i < PAGES; i++)
                if (write(to[1], &c, 1) != 1 || read(from[0], &c, 1) != 1)
                        err(1, "pipe");
        start = now_nsec() - start;
        close(to[1]);
        close(to[0]);
        close(from[0]);
        close(from[1]);
        waitpid(pid, NULL, 0);
        return start / PAGES / 2;
}

/* How many of those pages are in this process's page tables (bit 63 of their entries in pagemap). */
static size_t resident(const void *addr, size_t pages) {
        int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        size_t present = 0;

        if (fd < 0)
                err(1, "/proc/self/pagemap");
        for (size_t i = 0; i < pages; i++) {
                uint64_t entry;

                if (pread(fd, &entry, sizeof(entry), (off_t) (((uintptr_t) addr / PAGE + i) * sizeof(entry))) !=
                    sizeof(entry))
                        err(1, "pread of /proc/self/pagemap");
                present += entry >> 63;
        }
        (void) close(fd);
        return present;
}

/*
 * Pages that are clean in swap: reclaim takes each from its page table and writes nothing.
 */
static uint64_t reclaim(void) {
        volatile char *p = map(RECLAIMED, MAP_PRIVATE);
        uint64_t least = UINT64_MAX, start;

        memset((void *) p, 1, RECLAIMED * PAGE);
        if (swapon(SWAP_DEVICE, 0) < 0)
                err(1, "swapon of " SWAP_DEVICE);
        /* The first round writes them. */
        for (int round = 0; round < 4; round++) {
                start = now_nsec();
                if (madvise((void *) p, RECLAIMED * PAGE, MADV_PAGEOUT) < 0)
                        err(1, "madvise(MADV_PAGEOUT)");
                start = now_nsec() - start;
                if (resident((void *) p, RECLAIMED) > 0)
                        errx(1, "not all pages were reclaimed");
                if (round > 0 && start < least)
                        least = start;
                for (size_t i = 0; i < RECLAIMED; i++)
                        (void) p[i * PAGE];
        }
        munmap((void *) p, RECLAIMED * PAGE);
        if (swapoff(SWAP_DEVICE) < 0)
                err(1, "swapoff of " SWAP_DEVICE);
        return least / RECLAIMED;
}

static const struct {
        const char *name;
        uint64_t (*run)(void);
        int rounds;
} benches[] = {
        { "page-fault-private", fault_private, ROUNDS }, { "page-fault-shared", fault_shared, ROUNDS },
        { "mmap-munmap", mmap_munmap, ROUNDS },          { "mmap-touch-munmap", mmap_touch_munmap, ROUNDS },
        { "mprotect-twice", mprotect_twice, ROUNDS },    { "fork-exit", fork_exit, ROUNDS },
        { "context-switch", context_switch, ROUNDS },    { "reclaim-page", reclaim, 1 },
};

/* Another process makes a region of one page and keeps it. */
static void region_elsewhere(void) {
        pid_t parent = getpid(), pid;
        int ready[2];
        char c;

        if (pipe(ready) < 0)
                err(1, "pipe");
        pid = fork();
        if (pid < 0)
                err(1, "fork");
        if (pid == 0) {
                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                        _exit(1);
                make_region();
                if (write(ready[1], "", 1) != 1)
                        err(1, "write");
                for (;;)
                        pause();
        }
        close(ready[1]);
        if (read(ready[0], &c, 1) != 1)
                errx(1, "the other process has made no region");
        close(ready[0]);
}

int main(int argc, char *argv[]) {
        const char *state = argc == 2 ? argv[1] : "";

        /* A group of its own, to be ended as one; it may lead one already. */
        (void) setpgid(0, 0);

        if (strcmp(state, "elsewhere") == 0)
                region_elsewhere();
        else if (strcmp(state, "window") == 0)
                make_region();
        else if (strcmp(state, "mapping") == 0)
                make_mapping();
        else if (strcmp(state, "none") != 0)
                errx(2, "usage: unused none|mapping|elsewhere|window");

        for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
                uint64_t least = UINT64_MAX;

                for (int round = 0; round < benches[i].rounds; round++) {
                        uint64_t n = benches[i].run();

                        if (n < least)
                                least = n;
                }
                printf("state=%s operation=%s instructions=%llu\n", state, benches[i].name, (unsigned long long) least);
                fflush(stdout);
        }
        /* The name goes with the last sharer. */
        (void) signal(SIGTERM, SIG_IGN);
        (void) kill(0, SIGTERM);
        while (wait(NULL) > 0)
                ;
        if ((strcmp(state, "elsewhere") == 0 || strcmp(state, "window") == 0) && mshare_unlink(REGION) < 0)
                err(1, "mshare_unlink");
        return 0;
}
