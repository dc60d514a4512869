/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LD_PRELOAD for tests/guest/stress.sh: every process, whatever its program, has a window of one region.
 *
 * MSHARE_WINDOW=NAME: the region, which is created if it does not exist.
 * MSHARE_WINDOW_INSIDE=1: put big anonymous mappings whose address the kernel chooses into the region.
 */
/* Both names of mmap() are defined: with 64 bits they are one function. */
#undef _FILE_OFFSET_BITS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NR_MSHARE 548
/* Far from programs, libraries and stacks. The window fills the range of one upper entry, and a part of the next. */
#define WINDOW_ADDRESS (50UL << 40)
#define WINDOW_SIZE (600UL << 30)
#define BIG (256UL * 1024)

static char *window;
static bool inside;
static _Atomic size_t used;

__attribute__((constructor)) static void attach(void) {
        const char *name = getenv("MSHARE_WINDOW");

        if (!name)
                return;
        if (access("/proc/sys/vm/mshare_size", F_OK) < 0) {
                fprintf(stderr, "window-preload: no mshare here\n");
                _exit(125);
        }
        window = (char *) WINDOW_ADDRESS;
        if (syscall(NR_MSHARE, name, window, WINDOW_SIZE, O_CREAT | O_RDWR, 0666) < 0) {
                /* Some stressors change their limits or their root first. */
                fprintf(stderr, "window-preload: %m\n");
                window = NULL;
                return;
        }
        inside = getenv("MSHARE_WINDOW_INSIDE") != NULL;
}

static void *raw_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
        return (void *) syscall(SYS_mmap, addr, len, prot, flags, fd, offset);
}

__attribute__((visibility("default"))) void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset) {
        const int elsewhere = MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN | MAP_HUGETLB | MAP_STACK | MAP_32BIT;
        size_t at;
        void *p;

        if (inside && !addr && (flags & MAP_ANONYMOUS) && !(flags & elsewhere) && len >= BIG &&
            len < WINDOW_SIZE / 64) {
                /* Each process begins at another address. If it is in use, the kernel looks elsewhere. */
                at = atomic_fetch_add(&used, len) + (size_t) getpid() % 4096 * (WINDOW_SIZE / 8192);
                at = at % (WINDOW_SIZE - len) & ~(size_t) 4095;
                p = raw_mmap(window + at, len, prot, flags, fd, offset);
                if (p != MAP_FAILED)
                        return p;
        }
        return raw_mmap(addr, len, prot, flags, fd, offset);
}

/* The same function on 64-bit machines, under another name. */
void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
        __attribute__((visibility("default"), alias("mmap")));
