/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stands between a server and mmap(): the one large shared anonymous mapping that it makes before it forks is
 * placed in the region that MSHARE_REGION names. See mshare-postgresql(7).
 *
 * Everything that is not this mapping goes to the kernel as it came, by system call: looking up the next mmap()
 * could allocate, and allocators call mmap().
 */

/* Else the headers rename mmap() to mmap64(), and both names are ours to define; off_t has 64 bits either way. */
#undef _FILE_OFFSET_BITS

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload-config.h"
#include "preload-region.h"
#include "util.h"

#ifndef MAP_HUGE_MASK
#define MAP_HUGE_MASK 0x3fU
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

/* What a mapping that a region can stand in for may ask for. With MAP_FIXED the place is not ours to choose. */
#define FLAGS_WANTED (MAP_SHARED | MAP_ANONYMOUS)
#define FLAGS_HUGE (MAP_HUGETLB | (int) ((unsigned int) MAP_HUGE_MASK << MAP_HUGE_SHIFT))
#define FLAGS_ALLOWED (FLAGS_WANTED | MAP_NORESERVE | MAP_POPULATE | FLAGS_HUGE)

/* Nobody hands an interposed function a context: this is the one place in the project with such a thing. */
static struct {
        pthread_mutex_t lock;
        struct preload_region region;
        bool given_up; /* said why, and from then on plain memory or this error */
        int error;
        /* The window, for those who must decide without the lock. 0 while nothing is mapped. */
        _Atomic uintptr_t window_start, window_end;
} preload = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .region.claim_fd = -1,
};

/* Our own work maps memory too. */
static __thread bool inside __attribute__((tls_model("initial-exec")));

static void before_fork(void) {
        if (!inside)
                (void) pthread_mutex_lock(&preload.lock);
}

static void after_fork(void) {
        if (!inside)
                (void) pthread_mutex_unlock(&preload.lock);
}

__attribute__((constructor)) static void setup(void) {
        (void) pthread_atfork(before_fork, after_fork, after_fork);
}

static void enter(void) {
        (void) pthread_mutex_lock(&preload.lock);
        inside = true;
}

static void leave(void) {
        inside = false;
        (void) pthread_mutex_unlock(&preload.lock);
}

static bool in_window(const void *addr, size_t length) {
        uintptr_t start = atomic_load(&preload.window_start), end = atomic_load(&preload.window_end);
        uintptr_t a = (uintptr_t) addr;

        return !inside && start != 0 && a < end && length > (a < start ? start - a : 0);
}

/* The kernel reads whole registers, of which an int promises only half. */
static void *plain_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset) {
        return (void *) syscall(SYS_mmap, addr, length, (long) prot, (long) flags, (long) fd, offset);
}

static void publish(void) {
        const struct preload_region *r = &preload.region;

        atomic_store(&preload.window_end, r->start ? (uintptr_t) r->window + r->length : 0);
        atomic_store(&preload.window_start, r->start ? (uintptr_t) r->window : 0);
}

/* True if the mapping is decided here: then *ret is the answer, with errno set if it is MAP_FAILED. */
static bool place(const struct preload_config *config, size_t length, int flags, void **ret) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        size_t size = (length + page - 1) & ~(page - 1);
        _cleanup_(freep) char *message = NULL;
        int r;

        if (preload.region.start)
                return false;

        if (!preload.given_up) {
                if (config->problem[0] != '\0')
                        r = -EINVAL;
                else
                        r = preload_region_map(&preload.region, config->region, size, flags, &message);

                if (r >= 0 && (flags & MAP_HUGETLB)) {
                        /*
                         * The region has the pages that its creator chose. Servers that merely try for huge pages
                         * ask again without when there are none, which is what this looks like.
                         */
                        r = preload_region_unmap(&preload.region);
                        if (r >= 0) {
                                errno = ENOMEM;
                                *ret = MAP_FAILED;
                                return true;
                        }
                }

                if (r >= 0) {
                        publish();
                        *ret = preload.region.start;
                        return true;
                }

                preload.given_up = true;
                preload.error = config->fallback ? 0 : -r;
                (void) dprintf(STDERR_FILENO,
                               "libmshare-preload: %s; %s\n",
                               message                      ? message :
                               config->problem[0] != '\0' ? config->problem :
                                                              "Cannot place shared memory in the region: out of memory",
                               config->fallback ? "going on with memory of its own, as MSHARE_FALLBACK=yes says" :
                                                  "refusing the memory, because MSHARE_FALLBACK is not yes");
        }

        if (preload.error == 0)
                return false;

        errno = preload.error;
        *ret = MAP_FAILED;
        return true;
}

_public_ void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset) {
        struct preload_config config;
        void *result;
        int saved = errno;
        bool decided;

        if (inside || (flags & FLAGS_WANTED) != FLAGS_WANTED || (flags & ~FLAGS_ALLOWED) ||
            prot != (PROT_READ | PROT_WRITE) || length > SIZE_MAX / 2 || !preload_config_read(&config) ||
            length < config.min_size)
                return plain_mmap(addr, length, prot, flags, fd, offset);

        enter();
        decided = place(&config, length, flags, &result);
        leave();

        if (!decided) {
                errno = saved;
                return plain_mmap(addr, length, prot, flags, fd, offset);
        }
        if (result != MAP_FAILED)
                errno = saved;
        return result;
}

_public_ void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
        __attribute__((alias("mmap")));

/*
 * Inside a window munmap() acts for all who share the region, but a server that unmaps its memory means itself
 * alone: a logger that needs none, a postmaster that starts afresh. So the whole window goes, for this process.
 */
_public_ int munmap(void *addr, size_t length) {
        size_t page, size;
        int r;

        if (!in_window(addr, length))
                return (int) syscall(SYS_munmap, addr, length);

        page = (size_t) sysconf(_SC_PAGESIZE);
        size = (length + page - 1) & ~(page - 1);

        enter();
        /* A part of it cannot be given back without taking it from everybody. */
        if (addr == preload.region.start && size == preload.region.size)
                r = preload_region_unmap(&preload.region);
        else
                r = -EINVAL;
        if (r >= 0)
                publish();
        leave();

        if (r < 0) {
                errno = -r;
                return -1;
        }
        return 0;
}

_public_ void *mremap(void *addr, size_t old_length, size_t new_length, int flags, ...) {
        void *new_addr = NULL;
        va_list ap;

        if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
                va_start(ap, flags);
                new_addr = va_arg(ap, void *);
                va_end(ap);
        }

        /* Likewise: it would grow, shrink or move for every process of the server at once. */
        if (in_window(addr, old_length > 0 ? old_length : 1)) {
                errno = EINVAL;
                return MAP_FAILED;
        }

        return (void *) syscall(SYS_mremap, addr, old_length, new_length, (long) flags, new_addr);
}
