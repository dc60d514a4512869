/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory KIND MIB COUNT...: what the page tables of one buffer cost the processes that use it.
 *
 * Makes a buffer of that size and kind, fills it, and forks processes that each read one byte of every page and then
 * wait. The COUNTs must increase. For each COUNT it prints a record: how much the machine's page tables have grown since before
 * the buffer was created, and what the newest process needed: its own tables, its faults and its time.
 *
 * Kinds: plain, thp, hugetlb, region, region-thp; hugetlb-aligned, at a multiple of 1 GiB, where Linux itself shares
 * page tables of hugetlb pages, 1 GiB at a time; region-hugetlb, hugetlb pages inside a region. The kernel refuses the
 * last, and the only record then has the error.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "bench.h"
#include "mshare.h"

/* Of hugetlb pages, of which only whole ones can be taken from a page table. */
#define HUGE_PAGE ((size_t) 2 << 20)

typedef struct Answer {
        uint64_t faults, nsec, own;
} Answer;

/* Only counts and sums are used; this keeps the reads from being optimized away. */
static volatile char sink;

static bool is_region(const char *kind) {
        return strncmp(kind, "region", strlen("region")) == 0;
}

static bool is_hugetlb(const char *kind) {
        return strstr(kind, "hugetlb") != NULL;
}

static const char *const kinds[] = { "plain",  "thp",        "hugetlb",       "hugetlb-aligned",
                                     "region", "region-thp", "region-hugetlb" };

/* NULL if the kernel refuses hugetlb pages in a region; errno says how. */
static char *make_buffer(const char *kind, size_t size) {
        int flags = MAP_SHARED | MAP_ANONYMOUS;
        char *p = NULL;
        size_t g;

        if (is_region(kind)) {
                g = granule();
                if (mshare("bench", REGION_ADDRESS, (size + g - 1) / g * g, O_CREAT | O_EXCL | O_RDWR, 0600) < 0)
                        err(1, "mshare");
                p = REGION_ADDRESS;
                flags |= MAP_FIXED;
        } else if (strcmp(kind, "hugetlb-aligned") == 0) {
                p = REGION_ADDRESS;
                flags |= MAP_FIXED_NOREPLACE;
        }
        if (is_hugetlb(kind))
                flags |= MAP_HUGETLB;

        p = mmap(p, size, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (p == MAP_FAILED && is_region(kind) && is_hugetlb(kind))
                return NULL;
        if (p == MAP_FAILED)
                err(1, "mmap of %zu bytes", size);
        if (strstr(kind, "thp") && madvise(p, size, MADV_HUGEPAGE) < 0)
                err(1, "madvise");
        for (size_t i = 0; i < size; i += PAGE)
                p[i] = (char) (i / PAGE);
        return p;
}

/* A function of its own: its instructions are counted, so they must not depend on what its caller keeps in registers. */
__attribute__((noinline)) static void child(char *p, size_t size, size_t unit, int answers) {
        bool extra = extra_faults();
        struct rusage before, after;
        Answer a;

        if (getrusage(RUSAGE_SELF, &before) < 0)
                err(1, "getrusage");
        a.nsec = now_nsec();
        for (size_t i = 0; i < size; i += PAGE) {
                if (extra && i % unit == 0)
                        extra_fault(p + i, unit);
                sink = *(const volatile char *) (p + i);
        }
        a.nsec = now_nsec() - a.nsec;
        if (getrusage(RUSAGE_SELF, &after) < 0)
                err(1, "getrusage");
        a.faults = (uint64_t) (after.ru_minflt - before.ru_minflt);
        a.own = file_number("/proc/self/status", "VmPTE:") << 10;
        if (write(answers, &a, sizeof(a)) != sizeof(a))
                err(1, "write");
        for (;;)
                pause();
}

/* The least of half a second: those of programs that have just ended may still be there. */
static uint64_t settled_table_bytes(void) {
        uint64_t least = UINT64_MAX;

        for (int i = 0; i < 50; i++) {
                uint64_t now = page_table_bytes();

                if (now < least)
                        least = now;
                (void) usleep(10000);
        }
        return least;
}

/*
 * Waits until the tables are as before, so that the next program does not count those that are still on their way out:
 * a worker of the kernel frees a region's. On a machine with other programs they may have grown meanwhile, so it also
 * ends when they have not shrunk for two seconds.
 */
static void wait_for_tables(uint64_t before) {
        uint64_t least = UINT64_MAX;

        for (int same = 0; same < 200; same++) {
                uint64_t now = page_table_bytes();

                if (now <= before + (16 << 10))
                        return;
                if (now < least) {
                        least = now;
                        same = 0;
                }
                (void) usleep(10000);
        }
        warnx("the page tables are still %llu kB larger than before", (unsigned long long) (least - before) >> 10);
}

int main(int argc, char *argv[]) {
        size_t size, count = 0;
        bool known = false;
        uint64_t before;
        int answers[2];
        pid_t group;
        char *p;

        if (argc < 4)
                errx(2, "usage: memory KIND MIB COUNT...");
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                known = known || strcmp(argv[1], kinds[i]) == 0;
        if (!known)
                errx(2, "no such kind: %s", argv[1]);
        size = strtoul(argv[2], NULL, 10) << 20;
        before = settled_table_bytes();
        p = make_buffer(argv[1], size);
        if (!p) {
                printf("kind=%s mib=%s refused=%s\n", argv[1], argv[2], strerrorname_np(errno));
                if (mshare_unlink("bench") < 0)
                        err(1, "mshare_unlink");
                return 0;
        }
        if (pipe(answers) < 0)
                err(1, "pipe");
        printf("kind=%s mib=%s processes=0 table_bytes=%lld\n", argv[1], argv[2],
               (long long) (page_table_bytes() - before));
        fflush(stdout);

        group = 0;
        for (int i = 3; i < argc; i++) {
                Answer a = { 0 };
                size_t target = strtoul(argv[i], NULL, 10);

                for (; count < target; count++) {
                        pid_t pid = fork();

                        if (pid < 0)
                                err(1, "fork of process %zu", count + 1);
                        if (pid == 0) {
                                if (setpgid(0, group) < 0)
                                        err(1, "setpgid");
                                child(p, size, is_hugetlb(argv[1]) ? HUGE_PAGE : PAGE, answers[1]);
                        }
                        if (group == 0)
                                group = pid;
                        (void) setpgid(pid, group);
                        if (read(answers[0], &a, sizeof(a)) != sizeof(a))
                                errx(1, "process %zu has not answered", count + 1);
                }
                printf("kind=%s mib=%s processes=%zu table_bytes=%lld own_bytes=%llu faults=%llu nsec=%llu\n", argv[1],
                       argv[2], count, (long long) (page_table_bytes() - before), (unsigned long long) a.own,
                       (unsigned long long) a.faults, (unsigned long long) a.nsec);
                fflush(stdout);
        }

        if (group != 0)
                (void) kill(-group, SIGKILL);
        while (wait(NULL) > 0)
                ;
        if (munmap(p, size) < 0)
                err(1, "munmap");
        if (is_region(argv[1]) && mshare_unlink("bench") < 0)
                err(1, "mshare_unlink");
        wait_for_tables(before);
        return 0;
}
