/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Takes the region for a server, and divides it among the server's mappings. It uses libmshare, which it loads when needed, and
 * prints nothing: preload-state.c decides and reports.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "message.h"
#include "preload-family.h"
#include "preload-region.h"
#include "util.h"

/*
 * In tenths of a second. If a postmaster is killed, its children notice that after a second or two, and are sharers until then.
 */
#define CLAIM_TRIES 50

static int load_api(PreloadApi *api, char **ret_message) {
        PreloadApi a;
        void *dl;

        if (api->acquire)
                return 0;

        dl = dlopen("libmshare.so.0", RTLD_NOW | RTLD_LOCAL);
        if (!dl)
                return message_set(ret_message, -ELIBACC, "Cannot load libmshare: %s", dlerror());

        a.acquire = (__typeof__(a.acquire)) dlsym(dl, "mshare_region_acquire");
        a.release = (__typeof__(a.release)) dlsym(dl, "mshare_region_release");
        a.attach = (__typeof__(a.attach)) dlsym(dl, "mshare_region_attach");
        a.detach = (__typeof__(a.detach)) dlsym(dl, "mshare_region_detach");
        a.address = (__typeof__(a.address)) dlsym(dl, "mshare_region_address");
        a.length = (__typeof__(a.length)) dlsym(dl, "mshare_region_length");
        a.size = (__typeof__(a.size)) dlsym(dl, "mshare_region_size");
        a.backing = (__typeof__(a.backing)) dlsym(dl, "mshare_region_backing");
        a.fd = (__typeof__(a.fd)) dlsym(dl, "mshare_region_fd");

        if (!a.acquire || !a.release || !a.attach || !a.detach || !a.address || !a.length || !a.size || !a.backing ||
            !a.fd) {
                (void) dlclose(dl);
                return message_set(ret_message, -ELIBBAD, "Cannot load libmshare: it is too old for this library");
        }

        *api = a;
        return 0;
}

/* Give up window, lease and claim. On failure (ENOMEM) nothing has changed. */
static int give_up(PreloadRegion *r) {
        int k;

        k = r->handle ? r->api.release(r->handle) : 0;
        if (k < 0)
                return k;

        r->handle = NULL;
        r->attached = false;
        own_fd_close(&r->claim);
        free(r->name);
        r->name = NULL;
        memset(r->mappings, 0, sizeof(r->mappings));
        return 0;
}

/* Takes the lease and the claim, but does not attach. */
static int take(PreloadRegion *r, const char *name, unsigned int *tries, char **ret_message) {
        const struct mshare_acquire_options options = {
                .size = sizeof(options),
                .flags = MSHARE_ACQUIRE_DETACHED,
        };
        size_t page;
        int k;

        k = load_api(&r->api, ret_message);
        if (k < 0)
                return k;

        k = r->api.acquire(name, O_RDWR, &options, &r->handle, ret_message);
        if (k < 0)
                return k;

        r->claim = OWN_FD_NONE;
        r->name = strdup(name);
        if (!r->family)
                r->family = preload_family_new();
        if (!r->name || !r->family)
                return message_region(ret_message, -ENOMEM, "use", name, "out of memory");
        atomic_store(&r->family->used, 0);

        k = preload_claim_open(name, r->api.fd(r->handle), &r->claim, tries, ret_message);
        if (k < 0)
                return k;

        /* The memory must be zero at the start, but a file with data must not be cleared. */
        if (streq(r->api.backing(r->handle), "file"))
                return message_region(ret_message, -EOPNOTSUPP, "use", name,
                                      "it is backed by a file, whose contents would be lost");

        r->empty = streq(r->api.backing(r->handle), "empty");
        r->window = r->api.address(r->handle);
        r->length = r->api.length(r->handle);
        page = (size_t) sysconf(_SC_PAGESIZE);
        r->room = r->empty ? r->length : (r->api.size(r->handle) + page - 1) & ~(page - 1);
        return 0;
}

/*
 * A new anonymous mapping is zero, so memory that takes its place must be zero, even if an earlier server used it. Freeing the
 * pages keeps the mapping that the region was created with. Where that is not possible (nothing is mapped, or the memory is
 * private), a new mapping replaces it.
 */
static int zero(const PreloadRegion *r, size_t offset, size_t size, int flags, char **ret_message) {
        const long prot = PROT_READ | PROT_WRITE;
        const long map_flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | (flags & MAP_NORESERVE);
        char buf[128];
        int k;

        if (madvise(r->window + offset, size, MADV_REMOVE) < 0 &&
            syscall(SYS_mmap, r->window + offset, size, prot, map_flags, -1L, 0L) == -1) {
                k = -xerrno();
                return message_set(ret_message, k, "Cannot clear %zu bytes of region '%s': %s", size, r->name,
                                   message_errno(k, buf, sizeof(buf)));
        }
        return 0;
}

/*
 * Attach, and make sure that this process is then the only one that can write. Readers may be attached: otherwise any user that
 * may read the region could keep the server out. They see that the memory is cleared, and then what readers that attach later
 * see, too. Check before attaching, because attaching and detaching again would disturb another server that is checking at the
 * same time.
 */
static int attach_alone(PreloadRegion *r, unsigned int *tries, char **ret_message) {
        unsigned int n;
        int k;

        for (;;) {
                k = preload_claim_count(r->name, r->api.fd(r->handle), &r->claim, &n, ret_message);
                if (k < 0)
                        return k;
                if (n == 0) {
                        k = r->api.attach(r->handle, ret_message);
                        if (k < 0)
                                return k;
                        r->attached = true;
                        k = preload_claim_count(r->name, r->api.fd(r->handle), &r->claim, &n, ret_message);
                        if (k < 0)
                                return k;
                        if (n == 1)
                                return 0;
                        k = r->api.detach(r->handle);
                        if (k < 0)
                                return message_set(ret_message, k, "Cannot detach region '%s'", r->name);
                        r->attached = false;
                }
                if (!preload_claim_wait(tries))
                        return message_region(ret_message, -EBUSY, "use", r->name,
                                              "another server, or a process that it left behind, uses it; number of "
                                              "processes that share it: %u (msharectl clients --sharers %s lists "
                                              "them)",
                                              n, r->name);
        }
}

static size_t mappings_end(const PreloadRegion *r) {
        size_t i, end = 0;

        for (i = 0; i < PRELOAD_MAPPINGS_MAX; i++)
                if (r->mappings[i].size > 0 && r->mappings[i].offset + r->mappings[i].size > end)
                        end = r->mappings[i].offset + r->mappings[i].size;
        return end;
}

static size_t mappings_size(const PreloadRegion *r) {
        size_t i, size = 0;

        for (i = 0; i < PRELOAD_MAPPINGS_MAX; i++)
                size += r->mappings[i].size;
        return size;
}

/* Find the lowest gap between the mappings of this process that is large enough. */
static bool find_gap(const PreloadRegion *r, size_t size, size_t *ret) {
        const PreloadMapping *m = r->mappings;
        size_t i, offset = 0;

        for (i = 0; i < PRELOAD_MAPPINGS_MAX; i++)
                if (m[i].size > 0 && m[i].offset < offset + size && offset < m[i].offset + m[i].size) {
                        offset = m[i].offset + m[i].size;
                        i = (size_t) -1; /* start again: the table is not sorted */
                }
        *ret = offset;
        return offset <= r->room && size <= r->room - offset;
}

/*
 * Choose the offset of a mapping. Processes that were forked before may still use what this server has unmapped. It is cleared
 * and used again only when none of them is left.
 */
static int choose(PreloadRegion *r, size_t size, int flags, unsigned int *tries, size_t *ret, char **ret_message) {
        size_t used = atomic_load(&r->family->used);
        unsigned int n;
        int k;

        for (;;) {
                k = preload_claim_count(r->name, r->api.fd(r->handle), &r->claim, &n, ret_message);
                if (k < 0)
                        return k;
                if (n == 1 && used > 0) {
                        if (!find_gap(r, size, ret))
                                break;
                        k = *ret < used && !r->empty ? zero(r, *ret, size, flags, ret_message) : 0;
                        if (k < 0)
                                return k;
                        used = mappings_end(r);
                        goto found;
                }
                if (used <= r->room && size <= r->room - used) {
                        *ret = used;
                        goto found;
                }
                /* If nothing was unmapped, waiting does not help. */
                if (n == 1 || mappings_size(r) == used || !preload_claim_wait(tries))
                        break;
        }

        return message_region(ret_message, PRELOAD_NO_ROOM, "use", r->name,
                              "it has %zu bytes, and the server needs %zu in addition to the %zu that it and its "
                              "processes use",
                              r->room, size, used);

found:
        if (*ret + size > used)
                used = *ret + size;
        atomic_store(&r->family->used, used);
        return 0;
}

static PreloadMapping *free_place(PreloadRegion *r) {
        size_t i;

        for (i = 0; i < PRELOAD_MAPPINGS_MAX; i++)
                if (r->mappings[i].size == 0)
                        return r->mappings + i;
        return NULL;
}

static int place(PreloadRegion *r, size_t size, int flags, unsigned int *tries, PreloadMapping **ret,
                 char **ret_message) {
        PreloadMapping *m;
        size_t offset = 0;
        int k;

        m = free_place(r);
        if (!m)
                return message_region(ret_message, PRELOAD_NO_ROOM, "use", r->name,
                                      "the server has reached the limit of mappings in it, %d", PRELOAD_MAPPINGS_MAX);

        if (!r->attached) {
                /* Do not clear the region for a server that does not fit. */
                if (size > r->room)
                        return message_region(ret_message, PRELOAD_NO_ROOM, "use", r->name,
                                              "it has %zu bytes, and the server needs %zu", r->room, size);
                k = attach_alone(r, tries, ret_message);
                if (k < 0)
                        return k;
                /* Clear all of it now, because later other processes share it. */
                k = r->empty ? 0 : zero(r, 0, r->room, flags, ret_message);
                if (k < 0)
                        return k;
        }

        k = choose(r, size, flags, tries, &offset, ret_message);
        if (k == 0 && r->empty)
                k = zero(r, offset, size, flags, ret_message);
        if (k != 0)
                return k;

        if (flags & MAP_POPULATE)
                (void) madvise(r->window + offset, size, MADV_POPULATE_WRITE);

        *m = (PreloadMapping){ .offset = offset, .size = size, .segment = -1 };
        *ret = m;
        return 0;
}

int preload_region_place(PreloadRegion *r, const char *name, size_t size, int flags, PreloadMapping **ret,
                         char **ret_message) {
        unsigned int tries = CLAIM_TRIES;
        bool first = !r->handle;
        int k = 0;

        if (r->family && !preload_family_own(r->family))
                return PRELOAD_CHILD;
        if (first)
                k = take(r, name, &tries, ret_message);
        if (k >= 0)
                k = place(r, size, flags, &tries, ret, ret_message);
        /* Release a region in which nothing could be placed. */
        if (k != 0 && first)
                (void) give_up(r);
        return k;
}

int preload_region_unmap(PreloadRegion *r, PreloadMapping *m) {
        const PreloadMapping before = *m;
        int k;

        m->size = 0;
        if (mappings_end(r) > 0 || preload_region_mine(r))
                return 0;

        k = give_up(r);
        if (k < 0)
                *m = before;
        return k;
}

bool preload_region_mine(const PreloadRegion *r) {
        return r->handle && preload_family_own(r->family);
}

PreloadMapping *preload_region_find(PreloadRegion *r, const void *start) {
        size_t i;

        for (i = 0; i < PRELOAD_MAPPINGS_MAX; i++)
                if (r->mappings[i].size > 0 && preload_mapping_start(r, r->mappings + i) == start)
                        return r->mappings + i;
        return NULL;
}
