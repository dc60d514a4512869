/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the benchmarks share. */
#pragma once

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE ((size_t) 4096)
/* Below the addresses that the loader, the heap and mmap() use, with and without address randomization. */
#define REGION_ADDRESS ((void *) (UINT64_C(1) << 44))

static inline uint64_t now_nsec(void) {
        struct timespec ts;

        if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
                err(1, "clock_gettime");
        return (uint64_t) ts.tv_sec * 1000000000U + (uint64_t) ts.tv_nsec;
}

/*
 * A deliberate regression, to try out ./run bench --check: EXTRA_FAULTS=1 in the environment, and each place that is
 * counted has one page fault more.
 */
static inline bool extra_faults(void) {
        const char *text = getenv("EXTRA_FAULTS");

        return text && strcmp(text, "1") == 0;
}

/* Takes the page from the page table and reads it again. Private memory loses its contents. */
static inline void extra_fault(void *page, size_t size) {
        if (madvise(page, size, MADV_DONTNEED) < 0)
                err(1, "madvise");
        (void) *(volatile char *) page;
}

/* The number that follows key in a file of "key: number" lines. */
static inline uint64_t file_number(const char *path, const char *key) {
        unsigned long long n = 0;
        char line[256];
        FILE *f = fopen(path, "re");

        if (!f)
                err(1, "%s", path);
        for (;;) {
                if (!fgets(line, sizeof(line), f))
                        errx(1, "%s has no line %s", path, key);
                if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), " %llu", &n) == 1)
                        break;
        }
        (void) fclose(f);
        return n;
}

/*
 * Bytes of page tables of all processes and regions. Each CPU keeps the last changes to itself, some hundred KiB together,
 * until the kernel is told to sum up; only root may do that.
 */
static inline uint64_t page_table_bytes(void) {
        int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, "1\n", 2) != 2)
                err(1, "/proc/sys/vm/stat_refresh");
        (void) close(fd);
        return file_number("/proc/meminfo", "PageTables:") << 10;
}

/* Length of the window of the smallest region. */
static inline size_t granule(void) {
        return (size_t) file_number("/proc/sys/vm/mshare_size", "");
}
