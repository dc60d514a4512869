/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel's memory management costs a process that does not use mshare. Run it in a guest of ./run guest
 * --icount, where one instruction is one nanosecond of the guest's clock, so the values are counts.
 *
 * Prints "NAME N" lines: the fewest instructions that one operation took in any of the rounds, because a timer
 * interrupt can only add to them.
 */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGES 256
#define ROUNDS 60
#define PAGE 4096UL

static uint64_t now(void) {
        struct timespec ts;

        if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
                err(1, "clock_gettime");
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
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
        uint64_t start = now();

        for (size_t i = 0; i < PAGES; i++)
                p[i * PAGE] = 1;
        start = now() - start;
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
        uint64_t start = now();

        for (int i = 0; i < PAGES; i++)
                munmap(map(1, MAP_PRIVATE), PAGE);
        return (now() - start) / PAGES;
}

/* With a resident page, so that there is a TLB to flush. */
static uint64_t mmap_touch_munmap(void) {
        uint64_t start = now();

        for (int i = 0; i < PAGES; i++) {
                char *p = map(1, MAP_PRIVATE);

                *(volatile char *) p = 1;
                munmap(p, PAGE);
        }
        return (now() - start) / PAGES;
}

static uint64_t mprotect_twice(void) {
        char *p = map(PAGES, MAP_PRIVATE);
        uint64_t start;

        memset(p, 1, PAGES * PAGE);
        start = now();
        for (int i = 0; i < PAGES; i++)
                if (mprotect(p, PAGE, PROT_READ) < 0 || mprotect(p, PAGE, PROT_READ | PROT_WRITE) < 0)
                        err(1, "mprotect");
        start = now() - start;
        munmap(p, PAGES * PAGE);
        return start / PAGES;
}

static uint64_t fork_exit(void) {
        uint64_t start = now();

        for (int i = 0; i < 8; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        err(1, "fork");
                if (pid == 0)
                        _exit(0);
                if (waitpid(pid, NULL, 0) != pid)
                        err(1, "waitpid");
        }
        return (now() - start) / 8;
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
        start = now();
        for (int i = 0; i < PAGES; i++)
                if (write(to[1], &c, 1) != 1 || read(from[0], &c, 1) != 1)
                        err(1, "pipe");
        start = now() - start;
        close(to[1]);
        close(to[0]);
        close(from[0]);
        close(from[1]);
        waitpid(pid, NULL, 0);
        return start / PAGES / 2;
}

static const struct {
        const char *name;
        uint64_t (*run)(void);
} benches[] = {
        { "page-fault-private", fault_private }, { "page-fault-shared", fault_shared },
        { "mmap-munmap", mmap_munmap },          { "mmap-touch-munmap", mmap_touch_munmap },
        { "mprotect-twice", mprotect_twice },    { "fork-exit", fork_exit },
        { "context-switch", context_switch },
};

int main(void) {
        for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
                uint64_t least = UINT64_MAX;

                for (int round = 0; round < ROUNDS; round++) {
                        uint64_t n = benches[i].run();

                        if (n < least)
                                least = n;
                }
                printf("%s %llu\n", benches[i].name, (unsigned long long) least);
                fflush(stdout);
        }
        return 0;
}
