/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Places System V segments in the region. A real segment of one page is created, too, because servers use its identifier, its
 * key and its number of attached processes to find out whether another server is running. These stay the kernel's own. When the
 * program attaches the segment, it gets memory in the region.
 *
 * Another process that attaches the segment sees that page, a copy of the first page in the region at the time of the last
 * fork. PostgreSQL has a header there, from which another postmaster learns to which cluster the segment belongs.
 *
 * preload-state.c decides whether a segment is placed.
 */

#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload-state.h"
#include "util.h"

static int plain_shmctl(int id, int command, struct shmid_ds *buf) {
        return (int) syscall(SYS_shmctl, (long) id, (long) command, buf);
}

static PreloadMapping *find_segment(PreloadRegion *r, int id) {
        size_t i;

        for (i = 0; id >= 0 && i < PRELOAD_MAPPINGS_MAX; i++)
                if (r->mappings[i].size > 0 && r->mappings[i].segment == id && !r->mappings[i].removed)
                        return r->mappings + i;
        return NULL;
}

/* A segment that existed before has contents, and other processes may use it. */
static bool is_new(int id, key_t key, int flags) {
        struct shmid_ds ds;

        if (key == IPC_PRIVATE || (flags & IPC_EXCL))
                return true;
        return plain_shmctl(id, IPC_STAT, &ds) == 0 && ds.shm_cpid == getpid() && ds.shm_nattch == 0 &&
               ds.shm_atime == 0;
}

static int plain_shmget(key_t key, size_t size, int flags) {
        return (int) syscall(SYS_shmget, (long) key, size, (long) flags);
}

static bool is_ours(key_t key) {
        PreloadRegion *r;
        bool found = false;
        size_t i;

        r = preload_enter();
        for (i = 0; key != IPC_PRIVATE && i < PRELOAD_MAPPINGS_MAX; i++)
                found = found || (r->mappings[i].size > 0 && r->mappings[i].segment >= 0 && r->mappings[i].key == key &&
                                  !r->mappings[i].removed);
        preload_leave();
        return found;
}

_public_ int shmget(key_t key, size_t size, int flags) {
        PreloadWish wish = { .size = size, .huge = flags & SHM_HUGETLB, .segment = -1, .key = key };
        size_t page = (size_t) sysconf(_SC_PAGESIZE);
        PreloadAnswer answer;
        int id, saved;
        void *start;

        if (preload_inside() || size < page)
                return plain_shmget(key, size, flags);
        /* The kernel does not know its real size. */
        if (is_ours(key))
                return plain_shmget(key, page, flags);
        if (!(flags & IPC_CREAT) || !preload_may_place(size))
                return plain_shmget(key, size, flags);

        /* Refuse before anything is created. */
        if (wish.huge)
                return preload_decide(&wish, &start) == PRELOAD_REFUSED ? -1 : plain_shmget(key, size, flags);

        id = plain_shmget(key, page, flags);
        if (id < 0)
                return id;
        if (!is_new(id, key, flags))
                return plain_shmget(key, size, flags);

        wish.segment = id;
        answer = preload_decide(&wish, &start);
        if (answer == PRELOAD_PLACED)
                return id;

        saved = errno;
        (void) plain_shmctl(id, IPC_RMID, NULL);
        errno = saved;
        return answer == PRELOAD_REFUSED ? -1 : plain_shmget(key, size, flags);
}

/* Attach the real segment as well, so that the kernel counts this process and its children. */
static void *attach(PreloadRegion *r, PreloadMapping *m, const void *addr, int flags) {
        char *start = preload_mapping_start(r, m);

        if ((addr && addr != start) || (flags & (SHM_RDONLY | SHM_EXEC))) {
                errno = EINVAL;
                return (void *) -1;
        }
        if (!m->shadow) {
                void *shadow = (void *) syscall(SYS_shmat, (long) m->segment, NULL, 0L);

                if (shadow == (void *) -1)
                        return shadow;
                m->shadow = shadow;
        }
        m->attached++;
        return start;
}

_public_ void *shmat(int id, const void *addr, int flags) {
        PreloadRegion *r;
        PreloadMapping *m;
        void *result = NULL;

        if (!preload_inside()) {
                r = preload_enter();
                m = find_segment(r, id);
                if (m)
                        result = attach(r, m, addr, flags);
                preload_leave();
                if (m)
                        return result;
        }
        return (void *) syscall(SYS_shmat, (long) id, addr, (long) flags);
}

_public_ int shmdt(const void *addr) {
        PreloadRegion *r;
        PreloadMapping *m;
        int k = 0;

        if (!preload_in_window(addr, 1))
                return (int) syscall(SYS_shmdt, addr);

        r = preload_enter();
        m = preload_region_find(r, addr);
        if (!m || m->attached == 0)
                k = -EINVAL;
        else if (--m->attached == 0) {
                (void) syscall(SYS_shmdt, m->shadow);
                m->shadow = NULL;
                /* The server keeps a segment, because it may attach it again. A child that detaches it does not. */
                if (m->removed || !preload_region_mine(r))
                        k = preload_region_unmap(r, m);
        }
        preload_leave();

        if (k < 0) {
                errno = -k;
                return -1;
        }
        return 0;
}

_public_ int shmctl(int id, int command, struct shmid_ds *buf) {
        PreloadRegion *r;
        PreloadMapping *m;
        int k;

        k = plain_shmctl(id, command, buf);
        if (k < 0 || (command != IPC_RMID && command != IPC_STAT) || preload_inside())
                return k;

        r = preload_enter();
        m = find_segment(r, id);
        if (m && command == IPC_STAT)
                buf->shm_segsz = m->wanted;
        else if (m) {
                m->removed = true;
                if (m->attached == 0)
                        (void) preload_region_unmap(r, m);
        }
        preload_leave();
        return k;
}

void preload_sysv_before_fork(PreloadRegion *r) {
        size_t i, page;

        if (!r->attached || !preload_region_mine(r))
                return;
        page = (size_t) sysconf(_SC_PAGESIZE);
        for (i = 0; i < PRELOAD_MAPPINGS_MAX; i++)
                if (r->mappings[i].size > 0 && r->mappings[i].shadow)
                        memcpy(r->mappings[i].shadow, preload_mapping_start(r, r->mappings + i), page);
}
