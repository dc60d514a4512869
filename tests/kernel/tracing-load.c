/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The load for tests/kernel/tracing.sh: a process that faults, flushes and forks
 * in a region.
 *
 *   tracing-load NAME make      create the region and write 4 MiB in it
 *   tracing-load NAME work      attach; discard 128 pages and write them again;
 *                               change the protection of all; start a child,
 *                               which exits
 *   tracing-load NAME touch     attach and read 128 pages
 *   tracing-load NAME unlink    remove the name
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_mshare
#define SYS_mshare 548
#define SYS_mshare_unlink 549
#endif

#define START (UINT64_C(64) << 40)
#define PAGE 4096UL
#define SIZE (4UL << 20)
#define AGAIN 128 /* pages */

static void check(int r, const char *what) {
        if (r < 0)
                err(1, "%s", what);
}

/* The granule, in bytes: the smallest region. */
static uint64_t granule(void) {
        uint64_t size;
        FILE *f = fopen("/proc/sys/vm/mshare_size", "r");

        if (!f || fscanf(f, "%" SCNu64, &size) != 1)
                err(1, "/proc/sys/vm/mshare_size");
        (void) fclose(f);
        return size;
}

static volatile char *attach(const char *name, int flags) {
        check((int) syscall(SYS_mshare, name, START, granule(), O_RDWR | flags, 0600), "mshare");
        return (volatile char *) START;
}

static void work(volatile char *p) {
        pid_t child;

        check(madvise((void *) p, AGAIN * PAGE, MADV_DONTNEED), "madvise");
        for (size_t i = 0; i < AGAIN; i++)
                p[i * PAGE] = 2;
        check(mprotect((void *) p, SIZE, PROT_READ), "mprotect");
        check(mprotect((void *) p, SIZE, PROT_READ | PROT_WRITE), "mprotect");

        child = fork();
        check(child, "fork");
        if (child == 0)
                _exit(0);
        check(waitpid(child, NULL, 0), "waitpid");
}

int main(int argc, char **argv) {
        const char *verb = argc == 3 ? argv[2] : "";
        volatile char *p;

        if (strcmp(verb, "make") == 0) {
                p = attach(argv[1], O_CREAT | O_EXCL);
                if (mmap((void *) p, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                    MAP_FAILED)
                        err(1, "mmap");
                for (size_t i = 0; i < SIZE / PAGE; i++)
                        p[i * PAGE] = 1;
        } else if (strcmp(verb, "work") == 0) {
                work(attach(argv[1], 0));
        } else if (strcmp(verb, "touch") == 0) {
                p = attach(argv[1], 0);
                for (size_t i = AGAIN; i < 2 * AGAIN; i++)
                        if (p[i * PAGE] == 0)
                                errx(1, "page %zu is empty", i);
        } else if (strcmp(verb, "unlink") == 0) {
                check((int) syscall(SYS_mshare_unlink, argv[1]), "mshare_unlink");
        } else {
                errx(2, "usage: tracing-load NAME make|work|touch|unlink");
        }
        return 0;
}
