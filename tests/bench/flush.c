/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flush KIND COUNT: what it costs to remove a right or a page while COUNT others are attached and idle.
 *
 * KIND: region (COUNT processes share it) or threads (of one process). Run it in a guest of ./run guest --icount, where
 * nanoseconds are instructions. Prints the lowest of many rounds, because an interrupt can only add to it.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "bench.h"
#include "mshare.h"

#define ROUNDS 200

static void *idle(void *unused) {
        (void) unused;
        for (;;)
                pause();
        return NULL;
}

/* Each has the page in its TLB once and then sleeps. */
static void start_sharer(const char *page, int ready) {
        pid_t parent = getpid(), pid = fork();

        if (pid < 0)
                err(1, "fork");
        if (pid > 0)
                return;
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(1);
        if (write(ready, page, 1) != 1)
                err(1, "write");
        idle(NULL);
}

static void start_thread(void) {
        pthread_attr_t attr;
        pthread_t thread;
        int r;

        (void) pthread_attr_init(&attr);
        (void) pthread_attr_setstacksize(&attr, 64 << 10);
        r = pthread_create(&thread, &attr, idle, NULL);
        if (r != 0)
                errx(1, "pthread_create: %s", strerror(r));
        (void) pthread_attr_destroy(&attr);
}

static void *map(void *addr) {
        char *p = mmap(addr, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | (addr ? MAP_FIXED : 0), -1, 0);

        if (p == MAP_FAILED)
                err(1, "mmap");
        *(volatile char *) p = 1;
        return p;
}

int main(int argc, char *argv[]) {
        uint64_t protect = UINT64_MAX, unmap = UINT64_MAX, start;
        bool region, extra = extra_faults();
        size_t count;
        int ready[2];
        char *page;

        if (argc != 3)
                errx(2, "usage: flush region|threads COUNT");
        region = strcmp(argv[1], "region") == 0;
        if (!region && strcmp(argv[1], "threads") != 0)
                errx(2, "no such kind: %s", argv[1]);
        /* A process group of its own, so that it can be killed as one. It may be a group leader already. */
        (void) setpgid(0, 0);
        count = strtoul(argv[2], NULL, 10);
        if (region && mshare("flush", REGION_ADDRESS, granule(), O_CREAT | O_EXCL | O_RDWR, 0600) < 0)
                err(1, "mshare");
        page = map(region ? REGION_ADDRESS : NULL);

        if (pipe(ready) < 0)
                err(1, "pipe");
        for (size_t i = 0; i < count; i++) {
                char c;

                if (region) {
                        start_sharer(page, ready[1]);
                        if (read(ready[0], &c, 1) != 1)
                                errx(1, "sharer %zu did not start", i);
                } else
                        start_thread();
        }
        (void) usleep(200000);

        for (int i = 0; i < ROUNDS; i++) {
                start = now_nsec();
                if (extra)
                        extra_fault(page, PAGE);
                if (mprotect(page, PAGE, PROT_READ) < 0)
                        err(1, "mprotect");
                start = now_nsec() - start;
                if (start < protect)
                        protect = start;
                if (mprotect(page, PAGE, PROT_READ | PROT_WRITE) < 0)
                        err(1, "mprotect");
                *(volatile char *) page = 1;

                start = now_nsec();
                if (extra)
                        extra_fault(page, PAGE);
                if (munmap(page, PAGE) < 0)
                        err(1, "munmap");
                start = now_nsec() - start;
                if (start < unmap)
                        unmap = start;
                page = map(page);
        }
        printf("kind=%s others=%zu mprotect=%llu munmap=%llu\n", argv[1], count, (unsigned long long) protect,
               (unsigned long long) unmap);

        if (region) {
                (void) signal(SIGTERM, SIG_IGN);
                (void) kill(0, SIGTERM);
                while (wait(NULL) > 0)
                        ;
                if (mshare_unlink("flush") < 0)
                        err(1, "mshare_unlink");
        }
        return 0;
}
