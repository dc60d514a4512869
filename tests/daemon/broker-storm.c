/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#include "basic/util.h"
#include "mshare.h"

/*
 * broker-storm REGION N: keeps N processes running that acquire the region, attach to it, use it for a moment and leave
 * again: by release, exit, exec or SIGKILL, or by passing lease and window on to a child. While the broker is away they
 * try again. On standard input:
 *
 *   freeze   no process leaves any more; when all N have lease and window: "frozen HOLDERS"
 *   thaw     go on: "thawed"
 *   end, or the end of the file: all leave, and so does this program: "over CYCLES WRONG"
 *
 * WRONG counts memory that did not hold what was written to it.
 */
typedef struct Slot {
        atomic_int pid;
        atomic_bool holding;
} Slot;

typedef struct Shared {
        atomic_uint frozen; /* a futex: hundreds of polling processes would slow down those that must still arrive */
        atomic_bool over;
        atomic_ulong cycles, wrong;
        Slot slots[];
} Shared;

typedef struct Member {
        Shared *shared;
        Slot *slot;
        size_t index;
        const char *region;
        unsigned seed;
} Member;

static int acquire(const char *region, uint64_t *address, uint64_t *length) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int fd, r;

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_call_method(bus, "org.mshare1", "/org/mshare1", "org.mshare1.Manager", "AcquireRegion", NULL,
                                       &reply, "ssa{sv}", region, "rw", 0);
        if (r >= 0)
                r = sd_bus_message_read(reply, "tth", address, length, &fd);
        if (r < 0)
                return r;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return fd < 0 ? -errno : fd;
}

static unsigned pick(Member *m, unsigned n) {
        return (unsigned) rand_r(&m->seed) % n;
}

static void freeze(Shared *shared, bool on) {
        atomic_store(&shared->frozen, on);
        if (!on)
                (void) syscall(SYS_futex, &shared->frozen, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void wait_for_thaw(Shared *shared) {
        while (atomic_load(&shared->frozen))
                (void) syscall(SYS_futex, &shared->frozen, FUTEX_WAIT, 1, NULL, NULL, 0);
}

static void use(Member *m, uint64_t address) {
        volatile uint64_t *mine = (volatile uint64_t *) (uintptr_t) (address + m->index * 4096);

        for (unsigned i = 0; i < 4; i++) {
                uint64_t v = (uint64_t) getpid() << 32 | i;

                *mine = v;
                (void) usleep(1000 * (1 + pick(m, 40)));
                if (*mine != v)
                        atomic_fetch_add(&m->shared->wrong, 1);
                wait_for_thaw(m->shared);
        }
}

/* Leave in one of the possible ways. Returns if the process continues. */
static void leave(Member *m, int lease, uint64_t address, uint64_t length) {
        int fate = (int) pick(m, 6);
        pid_t pid;

        atomic_store(&m->slot->holding, false);
        switch (fate) {
        case 0:
                _exit(0);
        case 1:
                (void) execl("/bin/true", "true", NULL);
                _exit(1);
        case 2:
                (void) kill(getpid(), SIGKILL);
                break;
        case 3:
                /* The child is the client now, only by fork. */
                pid = fork();
                if (pid > 0) {
                        atomic_store(&m->slot->pid, pid);
                        _exit(0);
                }
                if (pid == 0) {
                        while (atomic_load(&m->slot->pid) != getpid()) {
                                /* Its parent was killed before it could name its successor. */
                                if (atomic_load(&m->shared->over))
                                        _exit(0);
                                (void) usleep(500);
                        }
                        m->seed ^= (unsigned) getpid();
                        atomic_store(&m->slot->holding, true);
                        use(m, address);
                        atomic_store(&m->slot->holding, false);
                        _exit(0);
                }
                break;
        }
        (void) munmap((void *) (uintptr_t) address, length);
        (void) close(lease);
}

static void member(Member *m) {
        for (;;) {
                uint64_t address, length;
                int lease;

                lease = acquire(m->region, &address, &length);
                if (lease < 0) {
                        (void) usleep(20000);
                        continue;
                }
                if (mshare(m->region, (void *) (uintptr_t) address, length, O_RDWR, 0) < 0) {
                        (void) fprintf(stderr, "mshare: %s\n", strerror(errno));
                        (void) close(lease);
                        (void) usleep(20000);
                        continue;
                }
                atomic_store(&m->slot->holding, true);
                use(m, address);
                atomic_fetch_add(&m->shared->cycles, 1);
                leave(m, lease, address, length);
        }
}

static void spawn(Shared *shared, const char *region, size_t i) {
        Member m = { .shared = shared, .slot = shared->slots + i, .index = i, .region = region };
        pid_t pid;

        pid = fork();
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void) close(0);
                m.seed = (unsigned) getpid();
                member(&m);
        }
        if (pid > 0)
                atomic_store(&shared->slots[i].pid, pid);
}

static size_t count_holding(Shared *shared, size_t n) {
        size_t k = 0;

        for (size_t i = 0; i < n; i++)
                k += atomic_load(&shared->slots[i].holding);
        return k;
}

static void tend(Shared *shared, const char *region, size_t n) {
        pid_t pid;

        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
                for (size_t i = 0; i < n; i++)
                        if (atomic_load(&shared->slots[i].pid) == pid) {
                                atomic_store(&shared->slots[i].holding, false);
                                spawn(shared, region, i);
                                break;
                        }
}

int main(int argc, char **argv) {
        size_t n = argc == 3 ? (size_t) atoi(argv[2]) : 0;
        bool freezing = false;
        Shared *shared;
        char line[64];

        if (n == 0)
                return 2;
        shared = mmap(NULL, sizeof(Shared) + n * sizeof(Slot), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (shared == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || fcntl(0, F_SETFL, O_NONBLOCK) < 0)
                return 2;
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        for (size_t i = 0; i < n; i++)
                spawn(shared, argv[1], i);
        for (;;) {
                ssize_t k = read(0, line, sizeof(line) - 1);

                if (k == 0 || (k > 0 && strncmp(line, "end", 3) == 0))
                        break;
                if (k > 0 && strncmp(line, "freeze", 6) == 0) {
                        freeze(shared, true);
                        freezing = true;
                } else if (k > 0 && strncmp(line, "thaw", 4) == 0) {
                        freeze(shared, false);
                        (void) printf("thawed\n");
                }
                tend(shared, argv[1], n);
                if (freezing && count_holding(shared, n) == n) {
                        /*
                         * A process that was about to leave when the flag was set has left by now, and has come back.
                         */
                        (void) usleep(100000);
                        tend(shared, argv[1], n);
                        if (count_holding(shared, n) == n) {
                                (void) printf("frozen %zu\n", n);
                                freezing = false;
                        }
                }
                (void) usleep(2000);
        }
        atomic_store(&shared->over, true);
        freeze(shared, false);
        for (size_t i = 0; i < n; i++)
                (void) kill(atomic_load(&shared->slots[i].pid), SIGKILL);
        /* All of them belong to this program, including those whose parent has exited. */
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
                ;
        (void) printf("over %lu %lu\n", atomic_load(&shared->cycles), atomic_load(&shared->wrong));
        return 0;
}
