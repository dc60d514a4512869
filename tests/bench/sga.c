/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sga KIND COUNT...: the page tables of the cover letter's server, a buffer of 300 GiB that up to 1500 processes map.
 *
 * The buffer's memory is a file of 1 GiB that is mapped 300 times in a row, which makes no difference to page tables.
 * KIND is region, where the mappings are made once inside a region, or plain, where each process makes its own. Each
 * process attaches, reads pages of the whole buffer and checks their contents. The first process reads all pages, the
 * others one page of every 2 MiB, which uses all of their page tables. In a region, whose tables are in use already,
 * most read only one page of every 16 MiB. The process's number decides which page.
 *
 * The COUNTs must increase. For each COUNT it prints a record: how much the machine's page tables have grown since before the
 * buffer was made, and the values of the newest process. Plain ends early if the next process might not find room for
 * its tables; then records of higher counts are missing. At the end it prints how long it takes until the processes and
 * the tables are gone.
 *
 * With SGA_MIB in the environment, it maps only that much, for a quick look.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "bench.h"
#include "mshare.h"

#define NAME "sga"
#define STRIDE ((size_t) 2 << 20)
#define LONG_STRIDE ((size_t) 16 << 20)
#define FILE_SIZE ((size_t) 1 << 30)
/*
 * Room that must be left when another plain process starts: for its tables, those of its program, and the guest's own.
 */
#define HEADROOM (UINT64_C(1) << 30)

typedef struct Answer {
        uint64_t faults, own, attach_nsec, read_nsec;
} Answer;

static char *const base = REGION_ADDRESS;
static size_t length = (size_t) 300 << 30;
static bool region;
static int file = -1;

static size_t window(void) {
        size_t g = granule();

        return (length + g - 1) / g * g;
}

static void map_buffer(void) {
        for (size_t at = 0; at < length; at += FILE_SIZE) {
                size_t part = length - at < FILE_SIZE ? length - at : FILE_SIZE;

                if (mmap(base + at, part, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED)
                        err(1, "mmap of GiB %zu", at / FILE_SIZE);
        }
}

/* The content of a page says which page of the file it is. */
static uint64_t contents(size_t page) {
        return (page + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill_file(void) {
        char *p;

        file = memfd_create("sga", MFD_CLOEXEC);
        if (file < 0 || ftruncate(file, (off_t) FILE_SIZE) < 0)
                err(1, "memfd_create");
        p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (p == MAP_FAILED)
                err(1, "mmap");
        for (size_t i = 0; i < FILE_SIZE / PAGE; i++)
                *(uint64_t *) (p + i * PAGE) = contents(i);
        if (munmap(p, FILE_SIZE) < 0)
                err(1, "munmap");
}

static uint64_t faults(void) {
        struct rusage usage;

        if (getrusage(RUSAGE_SELF, &usage) < 0)
                err(1, "getrusage");
        return (uint64_t) (usage.ru_minflt + usage.ru_majflt);
}

static void check_page(size_t at) {
        uint64_t got = *(volatile uint64_t *) (base + at);

        if (got != contents(at % FILE_SIZE / PAGE))
                errx(1, "byte %zu of the buffer holds %llx", at, (unsigned long long) got);
}

static _Noreturn void client(size_t number, bool last, int answers) {
        size_t stride = region && number > 0 && !last ? LONG_STRIDE : STRIDE;
        bool extra = extra_faults();
        Answer a;

        /* The parent has no window, so this is what a process that connects does. */
        a.attach_nsec = now_nsec();
        if (!region)
                map_buffer();
        else if (mshare(NAME, base, window(), O_RDWR, 0) < 0)
                err(1, "attach of process %zu", number + 1);
        a.attach_nsec = now_nsec() - a.attach_nsec;

        a.faults = faults();
        a.read_nsec = now_nsec();
        for (size_t at = 0; at < length; at += number == 0 ? PAGE : stride) {
                check_page(number == 0 ? at : at + number % (stride / PAGE) * PAGE);
                /* Not in the first process, for which this takes hours. */
                if (extra && last && number > 0)
                        extra_fault(base + at, PAGE);
        }
        a.read_nsec = now_nsec() - a.read_nsec;
        a.faults = faults() - a.faults;
        a.own = file_number("/proc/self/status", "VmPTE:") << 10;
        if (write(answers, &a, sizeof(a)) != sizeof(a))
                err(1, "write");
        for (;;)
                (void) pause();
}

/* Makes the region and its mappings in a process that then exits: the name keeps them. */
static void make_region(uint64_t before) {
        uint64_t begin = now_nsec(), mapped;
        int status;
        pid_t pid = fork();

        if (pid < 0)
                err(1, "fork");
        if (pid > 0) {
                if (waitpid(pid, &status, 0) != pid || status != 0)
                        errx(1, "the region could not be made");
                return;
        }
        if (mshare(NAME, base, window(), O_CREAT | O_EXCL | O_RDWR, 0600) < 0)
                err(1, "mshare");
        map_buffer();
        mapped = now_nsec();
        if (madvise(base, length, MADV_POPULATE_READ) < 0)
                err(1, "MADV_POPULATE_READ");
        printf("kind=region mib=%zu processes=0 table_bytes=%lld map_nsec=%llu populate_nsec=%llu\n", length >> 20,
               (long long) (page_table_bytes() - before), (unsigned long long) (mapped - begin),
               (unsigned long long) (now_nsec() - mapped));
        (void) fflush(stdout);
        _exit(0);
}

/* Waits until the tables are as before, except for a few MiB of other work. */
static uint64_t wait_for_tables(uint64_t before) {
        uint64_t begin = now_nsec();

        while (page_table_bytes() > before + (UINT64_C(4) << 20)) {
                if (now_nsec() - begin > UINT64_C(600) * 1000000000)
                        errx(1, "after 10 minutes there are %llu kB of page tables left",
                             (unsigned long long) (page_table_bytes() - before) >> 10);
                (void) usleep(10000);
        }
        return now_nsec() - begin;
}

int main(int argc, char *argv[]) {
        uint64_t before, begin, exit_nsec, unlink_nsec = 0;
        const char *mib = getenv("SGA_MIB");
        Answer a = { 0 };
        size_t count = 0;
        pid_t group = 0;
        int answers[2];

        if (argc < 3 || (strcmp(argv[1], "region") != 0 && strcmp(argv[1], "plain") != 0))
                errx(2, "usage: sga region|plain COUNT...");
        region = strcmp(argv[1], "region") == 0;
        if (mib)
                length = strtoul(mib, NULL, 10) << 20;
        if (length == 0 || length % LONG_STRIDE != 0)
                errx(2, "SGA_MIB=%s: this is not a multiple of 16 MiB", mib);

        fill_file();
        if (pipe(answers) < 0)
                err(1, "pipe");
        before = page_table_bytes();
        if (region)
                make_region(before);

        for (int i = 2; i < argc; i++) {
                size_t target = strtoul(argv[i], NULL, 10), reached = count;

                while (count < target) {
                        pid_t parent = getpid(), pid;

                        if (!region && file_number("/proc/meminfo", "MemAvailable:") << 10 < HEADROOM + length / 512)
                                break;
                        pid = fork();
                        if (pid < 0)
                                err(1, "fork of process %zu", count + 1);
                        if (pid == 0) {
                                if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
                                    setpgid(0, group) < 0)
                                        _exit(1);
                                (void) close(answers[0]);
                                client(count, count + 1 == target, answers[1]);
                        }
                        if (group == 0)
                                group = pid;
                        (void) setpgid(pid, group);
                        if (read(answers[0], &a, sizeof(a)) != sizeof(a))
                                errx(1, "process %zu has not answered", count + 1);
                        count++;
                }
                if (count == reached)
                        break;
                printf("kind=%s mib=%zu processes=%zu table_bytes=%lld own_bytes=%llu faults=%llu attach_nsec=%llu read_nsec=%llu\n",
                       argv[1], length >> 20, count, (long long) (page_table_bytes() - before),
                       (unsigned long long) a.own, (unsigned long long) a.faults, (unsigned long long) a.attach_nsec,
                       (unsigned long long) a.read_nsec);
                (void) fflush(stdout);
                if (count < target)
                        break;
        }

        begin = now_nsec();
        if (group != 0)
                (void) kill(-group, SIGKILL);
        while (wait(NULL) > 0)
                ;
        exit_nsec = now_nsec() - begin;
        if (region) {
                begin = now_nsec();
                if (mshare_unlink(NAME) < 0)
                        err(1, "mshare_unlink");
                unlink_nsec = now_nsec() - begin;
        }
        printf("kind=%s mib=%zu ended=%zu exit_nsec=%llu unlink_nsec=%llu tables_gone_nsec=%llu\n", argv[1],
               length >> 20, count, (unsigned long long) exit_nsec, (unsigned long long) unlink_nsec,
               (unsigned long long) wait_for_tables(before));
        return 0;
}
