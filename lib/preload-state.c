/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Decides what happens to each mapping of shared memory that a program requests, and reports it in one line. It holds the state
 * of the preload library, apart from preload-env.c's, and its only lock.
 */

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload-config.h"
#include "preload-env.h"
#include "preload-family.h"
#include "preload-look.h"
#include "preload-state.h"
#include "util.h"

/* A mapping that is too small for the region is reported if it is at least this large. */
#define SMALL_MIN ((size_t) 1 << 20)

/* An interposed function has no context argument, so this is global. */
static struct {
        pthread_mutex_t lock;
        PreloadRegion region;
        PreloadConfig config; /* valid once settled, because the environment has no settings then */
        _Atomic bool settled; /* the settings are removed from the environment */
        _Atomic pid_t settled_by;
        _Atomic bool decided; /* memory was placed, or the server goes on with memory of its own */
        _Atomic int
                outside; /* the process that has requested the region before, so that this one has none of it; or 0 */
        bool given_up; /* the reason was printed; from then on the program gets plain memory, or this error */
        int error;
        /* The window, for decisions without the lock. 0 while nothing is attached. */
        _Atomic uintptr_t window_start, window_end;
        _Atomic size_t small; /* the largest mapping that was too small */
        _Atomic size_t huge; /* the last one that requested huge pages and was not requested again without */
        _Atomic pid_t huge_by;
        _Atomic unsigned int told; /* lines that are written once, as bits */
} preload = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .region.claim.fd = -1,
};

enum {
        TOLD_SMALL = 1,
        TOLD_UNFIT = 2,
        TOLD_TAKEN = 4,
        TOLD_LOOKS = 8,
        TOLD_CHILD = 16,
        TOLD_UNSET = 32,
        TOLD_UNSEEN = 64,
};

/* This library maps memory, too. */
static __thread bool inside __attribute__((tls_model("initial-exec")));

bool preload_inside(void) {
        return inside;
}

PreloadRegion *preload_enter(void) {
        (void) pthread_mutex_lock(&preload.lock);
        inside = true;
        return &preload.region;
}

void preload_leave(void) {
        const PreloadRegion *r = &preload.region;

        atomic_store(&preload.window_end, r->attached ? (uintptr_t) r->window + r->length : 0);
        atomic_store(&preload.window_start, r->attached ? (uintptr_t) r->window : 0);
        inside = false;
        (void) pthread_mutex_unlock(&preload.lock);
}

bool preload_in_window(const void *addr, size_t length) {
        uintptr_t start = atomic_load(&preload.window_start), end = atomic_load(&preload.window_end);
        uintptr_t a = (uintptr_t) addr;

        return !inside && start != 0 && a < end && length > (a < start ? start - a : 0);
}

bool preload_is_settled(void) {
        return atomic_load(&preload.settled);
}

bool preload_is_decided(void) {
        return atomic_load(&preload.decided);
}

bool preload_is_server(void) {
        const PreloadFamily *f = preload.region.family;

        return atomic_load(&preload.settled_by) == getpid() || (f && process_pid(atomic_load(&f->owner)) == getpid());
}

_printf_(1, 2) static void say(const char *format, ...) {
        _cleanup_(freep) char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        (void) dprintf(STDERR_FILENO, "libmshare-preload: %s\n", text ?: "out of memory for a message");
}

static bool first_time(unsigned int what) {
        return !(atomic_fetch_or(&preload.told, what) & what);
}

static bool settings(PreloadConfig *ret) {
        if (!preload_is_settled())
                return preload_config_read(ret);
        *ret = preload.config;
        return true;
}

/*
 * From now on this process and its children know the settings, but programs that they execute do not. So a process settles as
 * soon as it has requested memory as a server does, even if that cannot be in the region. A program that has not, such as the
 * shell in "sh -c 'exec postgres'" or pg_ctl, passes the settings on.
 */
static void settle_with_mark(const PreloadConfig *config, const char *mark) {
        char *region;

        if (preload_is_settled())
                return;
        region = strdup(config->region);
        if (!region || !preload_env_settle(region, mark)) {
                free(region);
                say("Cannot remove the region's settings from the environment of programs that the server "
                    "executes: out of memory");
                return;
        }
        preload.config = *config;
        preload.config.region = region;
        atomic_store(&preload.settled_by, getpid());
        atomic_store(&preload.settled, true);
}

static void settle(const PreloadConfig *config) {
        settle_with_mark(config, NULL);
}

/*
 * The same for the process that has the region, or would have it. If a process from which it was forked has settled, name this
 * process in the mark instead.
 */
static void decide(const PreloadConfig *config) {
        settle(config);
        if (preload_is_settled() && atomic_load(&preload.settled_by) != getpid()) {
                if (preload_env_mark(config->region))
                        atomic_store(&preload.settled_by, getpid());
                else
                        say("Cannot name this process in the environment of programs that it executes: out of memory");
        }
        atomic_store(&preload.decided, true);
}

/* The library is loaded but no region is named: the setting may be misspelt. An empty value means no region. */
static void tell_unset(size_t size) {
        if (size >= PRELOAD_MIN_SIZE_DEFAULT && !getenv("MSHARE_REGION") && first_time(TOLD_UNSET))
                say("%zu bytes of shared memory are not in a region: MSHARE_REGION is not set", size);
}

/* Why this process does not use the region, although it is set. */
typedef enum Obstacle {
        OBSTACLE_NONE,
        OBSTACLE_TAKEN, /* by the process *ret_pid */
        OBSTACLE_LOOKS, /* the command only checks */
} Obstacle;

static Obstacle find_obstacle(const PreloadConfig *config, int *ret_pid) {
        static _Atomic int looks = -1;

        *ret_pid = atomic_load(&preload.outside);
        if (*ret_pid != 0)
                return OBSTACLE_TAKEN;
        if (preload_is_settled())
                return OBSTACLE_NONE;
        if (preload_env_taken_by_other(config->region, ret_pid))
                return OBSTACLE_TAKEN;
        if (atomic_load(&looks) < 0)
                atomic_store(&looks, preload_only_looks());
        return atomic_load(&looks) ? OBSTACLE_LOOKS : OBSTACLE_NONE;
}

/* This process is a server, but this memory is not for the region. */
static void settle_unplaced(const PreloadConfig *config) {
        int pid;

        if (preload_is_settled() || find_obstacle(config, &pid) != OBSTACLE_NONE)
                return;
        (void) preload_enter();
        settle(config);
        preload_leave();
}

/*
 * The environment says that this process is the new program of a server. What it executes has no region either. If that is the
 * server's program once more, it reports the same.
 */
static void settle_outside(const PreloadConfig *config, int pid) {
        (void) preload_enter();
        settle_with_mark(config, getenv("MSHARE_TAKEN"));
        if (preload_is_settled()) {
                atomic_store(&preload.outside, pid);
                atomic_store(&preload.decided, true);
        }
        preload_leave();
}

/* Too small for the region. */
static void note_small(const PreloadConfig *config, size_t size) {
        if (size > atomic_load(&preload.small))
                atomic_store(&preload.small, size);
        if (size >= SMALL_MIN)
                settle_unplaced(config);
}

bool preload_may_place(size_t size) {
        PreloadConfig config;

        if (inside)
                return false;
        if (!settings(&config)) {
                tell_unset(size);
                return false;
        }
        if (size >= config.min_size)
                return true;
        note_small(&config, size);
        return false;
}

/* Whether the settings apply to this process and this size. */
static bool is_meant(const PreloadWish *wish, PreloadConfig *config) {
        int pid = 0;

        if (inside || wish->size > SIZE_MAX / 2)
                return false;

        if (!settings(config)) {
                tell_unset(wish->size);
                return false;
        }

        if (wish->size < config->min_size) {
                note_small(config, wish->size);
                return false;
        }

        switch (find_obstacle(config, &pid)) {
        case OBSTACLE_TAKEN:
                if (first_time(TOLD_TAKEN))
                        say("%zu bytes of shared memory are not in region '%s': process %d, from which this one "
                            "inherited its environment, requested the region first; stop and start the server to "
                            "place them there",
                            wish->size, config->region, pid);
                if (!preload_is_settled())
                        settle_outside(config, pid);
                return false;
        case OBSTACLE_LOOKS:
                if (first_time(TOLD_LOOKS))
                        say("%zu bytes of shared memory are not in region '%s': this command only checks", wish->size,
                            config->region);
                return false;
        case OBSTACLE_NONE:
        default:
                return true;
        }
}

/* Nothing was placed, either for a lasting reason (final) or only for this mapping. */
static PreloadAnswer refuse(const PreloadConfig *config, int r, const char *message, bool final) {
        say("%s; %s",
            message                      ? message
            : config->problem[0] != '\0' ? config->problem
                                         : "Cannot place shared memory in the region: out of memory",
            config->fallback ? "continuing with memory of its own because of MSHARE_FALLBACK=yes"
                             : "refusing the memory, because MSHARE_FALLBACK is not yes");
        if (final) {
                preload.given_up = true;
                preload.error = config->fallback ? 0 : r;
        }
        if (config->fallback) {
                decide(config);
                return PRELOAD_PLAIN;
        }
        settle(config);
        errno = r;
        return PRELOAD_REFUSED;
}

static PreloadAnswer tell_child(const PreloadWish *wish, const PreloadConfig *config) {
        if (first_time(TOLD_CHILD))
                say("%zu bytes of shared memory of process %d are not in region '%s': the process is a child of the "
                    "server, and only memory that the server itself maps is placed",
                    wish->size, (int) getpid(), config->region);
        return PRELOAD_PLAIN;
}

static PreloadAnswer place(const PreloadWish *wish, const PreloadConfig *config, void **ret_start) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), size = (wish->size + page - 1) & ~(page - 1);
        PreloadRegion *region = &preload.region;
        _cleanup_(freep) char *message = NULL;
        PreloadMapping *m;
        char segment[48] = "";
        int r;

        if (region->family && !preload_family_own(region->family))
                return tell_child(wish, config);

        if (preload.given_up) {
                errno = preload.error;
                return preload.error == 0 ? PRELOAD_PLAIN : PRELOAD_REFUSED;
        }

        /*
         * The region has the page size that its creator chose. If there are no huge pages, a server that only tries them
         * requests the memory again without them. So fail in the same way, whatever will happen to the second request.
         */
        if (wish->huge) {
                atomic_store(&preload.huge_by, getpid());
                atomic_store(&preload.huge, wish->size);
                settle(config);
                errno = ENOMEM;
                return PRELOAD_REFUSED;
        }
        atomic_store(&preload.huge, 0);

        if (config->problem[0] != '\0')
                return refuse(config, EINVAL, NULL, true);

        r = preload_region_place(region, config->region, size, wish->flags, &m, &message);
        if (r == PRELOAD_CHILD)
                return tell_child(wish, config);
        if (r != 0)
                return refuse(config, r > 0 ? ENOMEM : -r, message, r < 0);

        m->wanted = wish->size;
        m->segment = wish->segment;
        m->key = wish->key;
        decide(config);
        if (wish->segment >= 0)
                (void) snprintf(segment, sizeof(segment), ", System V segment %d,", wish->segment);
        say("Placed %zu bytes of shared memory%s in region '%s', from byte %zu of its %zu", size, segment,
            config->region, m->offset, region->room);
        *ret_start = preload_mapping_start(region, m);
        return PRELOAD_PLACED;
}

PreloadAnswer preload_decide(const PreloadWish *wish, void **ret_start) {
        PreloadConfig config;
        PreloadAnswer answer;
        int saved = errno;

        if (!is_meant(wish, &config)) {
                errno = saved;
                return PRELOAD_PLAIN;
        }

        if (wish->unfit) {
                errno = saved;
                return PRELOAD_UNFIT;
        }

        (void) preload_enter();
        answer = place(wish, &config, ret_start);
        preload_leave();
        if (answer != PRELOAD_REFUSED)
                errno = saved;
        return answer;
}

void preload_tell_unfit(const PreloadWish *wish) {
        PreloadConfig config;
        int saved = errno;

        if (settings(&config) && first_time(TOLD_UNFIT))
                say("%zu bytes of shared memory are not in region '%s': they are %s", wish->size, config.region,
                    wish->unfit);
        if (settings(&config))
                settle_unplaced(&config);
        errno = saved;
}

/*
 * Calls of modules that are loaded with RTLD_DEEPBIND go to the C library and not to this one, so what they map is in no
 * region. Report that once: a server has mapped its memory before its first fork.
 */
static bool tell_unseen(const PreloadConfig *config) {
        size_t size;

        if (atomic_load(&preload.told) || config->problem[0] != '\0' || !first_time(TOLD_UNSEEN))
                return false;
        inside = true;
        size = preload_largest_shared();
        inside = false;
        if (size < config->min_size)
                return false;
        /* This message includes the one about small mappings. */
        (void) first_time(TOLD_SMALL);
        say("%zu bytes of shared memory are not in region '%s': this library did not see the call that mapped them; "
            "modules that are loaded with RTLD_DEEPBIND bypass it, for example PHP 8.2's",
            size, config->region);
        settle_unplaced(config);
        return true;
}

/* A server that has mapped nothing large before its first fork is unlikely to do so later. */
static void tell_small(void) {
        size_t small = atomic_load(&preload.small);
        PreloadConfig config;
        int pid;

        if (preload_is_decided() || !settings(&config) || preload_env_taken_by_other(config.region, &pid) ||
            tell_unseen(&config) || small < SMALL_MIN || !first_time(TOLD_SMALL))
                return;
        say("Nothing is in region '%s' so far: the largest shared mapping has %zu bytes, and MSHARE_MIN_SIZE is %zu",
            config.region, small, config.min_size);
}

static void before_fork(void) {
        if (inside)
                return;
        tell_small();
        (void) pthread_mutex_lock(&preload.lock);
        preload_sysv_before_fork(&preload.region);
}

static void after_fork(void) {
        if (!inside)
                (void) pthread_mutex_unlock(&preload.lock);
}

__attribute__((constructor)) static void setup(void) {
        (void) pthread_atfork(before_fork, after_fork, after_fork);
}

/* A server that requires huge pages exits now, and its own message does not say why there are none. */
__attribute__((destructor)) static void tell_huge(void) {
        size_t huge = atomic_load(&preload.huge);
        PreloadConfig config;

        if (huge == 0 || atomic_load(&preload.huge_by) != getpid() || !settings(&config))
                return;
        say("Cannot place %zu bytes in region '%s': the server requires huge pages of hugetlbfs, which a region does not "
            "have; set huge_pages=try in PostgreSQL",
            huge, config.region);
}
