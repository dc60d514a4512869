/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scale: what grows with the number of CPUs. Counts, not times: CPUs of a guest may have to wait for each other.
 *
 * fill KIND WORKERS MIB: WORKERS processes (KIND: plain, region) or threads of one process (threads) touch every page of
 * one buffer at once, each beginning elsewhere. Prints the faults and the waits of all of them, and the bytes of page
 * tables that they have together.
 *
 * flush KIND RUNNING SLEEPING: one more process or thread takes a right and a page away, over and over, while RUNNING
 * others read that page without a pause, each on a CPU of its own, and SLEEPING others, which have read it, wait. Prints
 * the interrupts to flush TLBs (of all CPUs) for each call.
 *
 * wait KIND READERS MIB: one more process or thread takes a right away from a page, over and over, which needs the lock of
 * the address space for writing, while READERS others, which may only read, take it for reading without a pause by mincore()
 * of a MiB each, each on a CPU of its own. Prints how many calls of each reader ended while one call of the writer waited:
 * the median and the most.
 *
 * fork KIND MIB: forks processes that read a buffer of that size, which the parent has filled, and exit. Prints the
 * faults of one child, and the bytes of its page tables.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "bench.h"
#include "mshare.h"

#define REGION "scale"
#define CALLS 50
#define WAITS 200
#define MIB (1UL << 20)
#define FORKS 20

/* Shared by all workers. They begin when go is set; those that run for ever end when it is more than 1. */
typedef struct Common {
        atomic_int ready, go;
        atomic_ullong faults, waits, bytes, calls;
} Common;

typedef struct Worker {
        pthread_t thread;
        size_t number;
} Worker;

static Common *common;
static size_t size, n_workers;
static char *buffer;

static volatile char sink;

static bool is_threads(const char *kind) {
        return strcmp(kind, "threads") == 0;
}

static bool is_region(const char *kind) {
        return strcmp(kind, "region") == 0;
}

static void make_buffer(const char *kind) {
        int flags = MAP_SHARED | MAP_ANONYMOUS;
        size_t g;

        if (is_region(kind)) {
                g = granule();
                if (mshare(REGION, REGION_ADDRESS, (size + g - 1) / g * g, O_CREAT | O_EXCL | O_RDWR, 0600) < 0)
                        err(1, "mshare");
                flags |= MAP_FIXED;
        } else if (!is_threads(kind) && strcmp(kind, "plain") != 0)
                errx(2, "no such kind: %s", kind);
        buffer = mmap(is_region(kind) ? REGION_ADDRESS : NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (buffer == MAP_FAILED)
                err(1, "mmap of %zu bytes", size);
}

static void make_common(void) {
        common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (common == MAP_FAILED)
                err(1, "mmap");
        *common = (Common){ 0 };
}

static void wait_until(const atomic_int *number, int least) {
        while (atomic_load(number) < least)
                (void) usleep(1000);
}

static void pin(size_t cpu) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(cpu % (size_t) sysconf(_SC_NPROCESSORS_ONLN), &set);
        if (sched_setaffinity(0, sizeof(set), &set) < 0)
                err(1, "sched_setaffinity");
}

/* What a worker of "fill" does. */
static void *fill(void *argument) {
        const Worker *worker = argument;
        size_t begin = size / n_workers * worker->number / PAGE * PAGE;
        bool extra = extra_faults();
        struct rusage before, after;

        pin(worker->number);
        (void) atomic_fetch_add(&common->ready, 1);
        while (atomic_load(&common->go) == 0)
                (void) sched_yield();
        if (getrusage(RUSAGE_THREAD, &before) < 0)
                err(1, "getrusage");
        for (size_t i = 0; i < size; i += PAGE) {
                *(volatile char *) (buffer + (begin + i) % size) = 1;
                if (extra)
                        extra_fault(buffer + (begin + i) % size, PAGE);
        }
        if (getrusage(RUSAGE_THREAD, &after) < 0)
                err(1, "getrusage");
        (void) atomic_fetch_add(&common->faults, (unsigned long long) (after.ru_minflt - before.ru_minflt));
        (void) atomic_fetch_add(&common->waits, (unsigned long long) (after.ru_nvcsw - before.ru_nvcsw));
        (void) atomic_fetch_add(&common->ready, 1);
        /* The tables are counted while all are there. */
        while (atomic_load(&common->go) < 2)
                (void) usleep(1000);
        return NULL;
}

/* What a worker of "flush" does: the first ones run, the others sleep. */
static size_t n_running;

static void *look(void *argument) {
        const Worker *worker = argument;

        sink = *(volatile char *) buffer;
        if (worker->number < n_running)
                /* CPU 0 is for who takes pages away. */
                pin(worker->number + 1);
        (void) atomic_fetch_add(&common->ready, 1);
        if (worker->number >= n_running)
                for (;;)
                        pause();
        while (atomic_load(&common->go) < 2)
                sink = *(volatile char *) (buffer + PAGE);
        return NULL;
}

static void start(const char *kind, Worker *workers, size_t count, void *(*work)(void *) ) {
        pid_t parent = getpid();
        pthread_attr_t attr;
        int r;

        (void) pthread_attr_init(&attr);
        (void) pthread_attr_setstacksize(&attr, 64 << 10);
        for (size_t i = 0; i < count; i++) {
                workers[i].number = i;
                if (is_threads(kind)) {
                        r = pthread_create(&workers[i].thread, &attr, work, &workers[i]);
                        if (r != 0)
                                errx(1, "pthread_create: %s", strerror(r));
                        continue;
                }
                switch (fork()) {
                case -1:
                        err(1, "fork");
                case 0:
                        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                                _exit(1);
                        (void) work(&workers[i]);
                        _exit(0);
                default:;
                }
        }
        (void) pthread_attr_destroy(&attr);
        wait_until(&common->ready, (int) count);
}

static void run_fill(const char *kind, size_t count) {
        Worker *workers = calloc(count, sizeof(*workers));
        uint64_t before;

        if (!workers)
                err(1, "calloc");
        n_workers = count;
        make_buffer(kind);
        before = page_table_bytes();
        start(kind, workers, count, fill);
        atomic_store(&common->go, 1);
        wait_until(&common->ready, (int) (2 * count));
        printf("cpus=%ld what=fill kind=%s workers=%zu mib=%zu faults=%llu waits=%llu table_bytes=%lld\n",
               sysconf(_SC_NPROCESSORS_ONLN), kind, count, size >> 20, atomic_load(&common->faults),
               atomic_load(&common->waits), (long long) (page_table_bytes() - before));
        atomic_store(&common->go, 2);
        for (size_t i = 0; is_threads(kind) && i < count; i++)
                (void) pthread_join(workers[i].thread, NULL);
        free(workers);
}

/* Sum over the CPUs of the line "TLB:". */
static uint64_t flush_interrupts(void) {
        FILE *f = fopen("/proc/interrupts", "re");
        uint64_t sum = 0;
        char line[1024];

        if (!f)
                err(1, "/proc/interrupts");
        for (;;) {
                char *p, *end;

                if (!fgets(line, sizeof(line), f))
                        errx(1, "/proc/interrupts has no line TLB");
                p = line + strspn(line, " ");
                if (strncmp(p, "TLB:", 4) != 0)
                        continue;
                for (p += 4;; p = end) {
                        uint64_t n = strtoull(p, &end, 10);

                        if (end == p)
                                break;
                        sum += n;
                }
                break;
        }
        (void) fclose(f);
        return sum;
}

static void run_flush(const char *kind, size_t running, size_t sleeping) {
        Worker *workers = calloc(running + sleeping, sizeof(*workers));
        uint64_t before, protect, unmap = 0;

        if (!workers)
                err(1, "calloc");
        n_running = running;
        pin(0);
        make_buffer(kind);
        memset(buffer, 1, size);
        start(kind, workers, running + sleeping, look);

        before = flush_interrupts();
        for (int i = 0; i < CALLS; i++) {
                if (mprotect(buffer, PAGE, PROT_READ) < 0 || mprotect(buffer, PAGE, PROT_READ | PROT_WRITE) < 0)
                        err(1, "mprotect");
                *(volatile char *) buffer = 1;
        }
        /* Two calls each time. */
        protect = (flush_interrupts() - before) / 2;
        for (int i = 0; i < CALLS; i++) {
                before = flush_interrupts();
                if (munmap(buffer, PAGE) < 0)
                        err(1, "munmap");
                unmap += flush_interrupts() - before;
                if (mmap(buffer, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                    MAP_FAILED)
                        err(1, "mmap");
                *(volatile char *) buffer = 1;
        }
        printf("cpus=%ld what=flush kind=%s running=%zu sleeping=%zu mprotect=%.2f munmap=%.2f\n",
               sysconf(_SC_NPROCESSORS_ONLN), kind, running, sleeping, (double) protect / CALLS,
               (double) unmap / CALLS);
        free(workers);
}

/* What a reader of "wait" does. A process attaches anew, to read only; a thread cannot. */
static bool attach_to_read;

static void *read_without_end(void *argument) {
        const Worker *worker = argument;
        unsigned char vector[MIB / PAGE];
        size_t g = granule();

        /* CPU 0 is for the writer. */
        pin(worker->number + 1);
        if (attach_to_read && (munmap(buffer, (size + g - 1) / g * g) < 0 ||
                               mshare(REGION, REGION_ADDRESS, (size + g - 1) / g * g, O_RDONLY, 0) < 0))
                err(1, "attach to read");
        (void) atomic_fetch_add(&common->ready, 1);
        for (size_t i = 0; atomic_load(&common->go) < 2; i = (i + MIB) % size) {
                if (mincore(buffer + i, MIB, vector) < 0)
                        err(1, "mincore");
                (void) atomic_fetch_add(&common->calls, 1);
        }
        return NULL;
}

static int compare(const void *a, const void *b) {
        const unsigned long long *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

static void run_wait(const char *kind, size_t readers) {
        Worker *workers = calloc(readers, sizeof(*workers));
        unsigned long long overtaken[WAITS];

        if (!workers)
                err(1, "calloc");
        pin(0);
        make_buffer(kind);
        memset(buffer, 1, size);
        attach_to_read = is_region(kind);
        start(kind, workers, readers, read_without_end);

        for (int i = 0; i < WAITS; i++) {
                unsigned long long before = atomic_load(&common->calls);

                if (mprotect(buffer, PAGE, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ) < 0)
                        err(1, "mprotect");
                overtaken[i] = atomic_load(&common->calls) - before;
        }
        qsort(overtaken, WAITS, sizeof(*overtaken), compare);
        printf("cpus=%ld what=wait kind=%s readers=%zu mib=%zu median=%.2f worst=%.2f\n", sysconf(_SC_NPROCESSORS_ONLN),
               kind, readers, size >> 20, (double) overtaken[WAITS / 2] / (double) readers,
               (double) overtaken[WAITS - 1] / (double) readers);
        free(workers);
}

static void run_fork(const char *kind) {
        struct rusage usage;

        make_buffer(kind);
        memset(buffer, 1, size);
        for (int i = 0; i < FORKS; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        err(1, "fork");
                if (pid == 0) {
                        for (size_t at = 0; at < size; at += PAGE)
                                sink = *(volatile char *) (buffer + at);
                        (void) atomic_fetch_add(&common->bytes, file_number("/proc/self/status", "VmPTE:") << 10);
                        _exit(0);
                }
                if (waitpid(pid, NULL, 0) != pid)
                        err(1, "waitpid");
        }
        if (getrusage(RUSAGE_CHILDREN, &usage) < 0)
                err(1, "getrusage");
        printf("cpus=%ld what=fork kind=%s mib=%zu faults=%ld table_bytes=%llu\n", sysconf(_SC_NPROCESSORS_ONLN), kind,
               size >> 20, usage.ru_minflt / FORKS, atomic_load(&common->bytes) / FORKS);
}

int main(int argc, char *argv[]) {
        const char *kind = argc > 2 ? argv[2] : "";

        /* A group of its own, to be ended as one; it may lead one already. */
        (void) setpgid(0, 0);
        make_common();
        /* What the last program left behind is still on its way out. */
        (void) usleep(200000);
        if (argc == 5 && strcmp(argv[1], "fill") == 0) {
                size = strtoul(argv[4], NULL, 10) << 20;
                run_fill(kind, strtoul(argv[3], NULL, 10));
        } else if (argc == 5 && strcmp(argv[1], "flush") == 0) {
                size = 2 * PAGE;
                run_flush(kind, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10));
        } else if (argc == 5 && strcmp(argv[1], "wait") == 0) {
                size = strtoul(argv[4], NULL, 10) << 20;
                run_wait(kind, strtoul(argv[3], NULL, 10));
        } else if (argc == 4 && strcmp(argv[1], "fork") == 0) {
                size = strtoul(argv[3], NULL, 10) << 20;
                run_fork(kind);
        } else
                errx(2,
                     "usage: scale fill KIND WORKERS MIB | flush KIND RUNNING SLEEPING | wait KIND READERS MIB | fork KIND MIB");
        fflush(stdout);
        /* The name goes with the last sharer. */
        (void) signal(SIGTERM, SIG_IGN);
        (void) kill(0, SIGTERM);
        while (wait(NULL) > 0)
                ;
        if (is_region(kind) && mshare_unlink(REGION) < 0)
                err(1, "mshare_unlink");
        return 0;
}
