/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "message.h"
#include "names.h"
#include "preload-region.h"
#include "util.h"

/* The children of a postmaster that was killed notice it within a second or two, and hold the claim till then. */
#define CLAIM_TRIES 50
#define CLAIM_INTERVAL_NSEC (100 * 1000 * 1000L)

static int load_api(struct preload_api *api, char **ret_message) {
        struct preload_api a;
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

        if (!a.acquire || !a.release || !a.attach || !a.detach || !a.address || !a.length || !a.size || !a.backing) {
                (void) dlclose(dl);
                return message_set(ret_message, -ELIBBAD, "Cannot load libmshare: it is too old for this library");
        }

        *api = a;
        return 0;
}

/*
 * Two servers in one region would overwrite each other. The lock goes with the open file, so it is held as
 * long as any process forked from the one that took it lives, which is how long its memory may be in use.
 */
static int claim(const char *name, int *ret_fd, char **ret_message) {
        const struct timespec interval = {.tv_nsec = CLAIM_INTERVAL_NSEC};
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closep) int fd = -1;
        char buf[128];
        int i, r = 0;

        if (asprintf(&path, MSHAREFS_PATH "/%s", name) < 0) {
                path = NULL;
                return message_set(ret_message, -ENOMEM, "Cannot claim region \"%s\": out of memory", name);
        }

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0) {
                r = -xerrno();
                return message_set(ret_message,
                                   r,
                                   "Cannot claim region \"%s\": %s: %s",
                                   name,
                                   path,
                                   message_errno(r, buf, sizeof(buf)));
        }

        for (i = 0; i < CLAIM_TRIES; i++) {
                r = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -xerrno() : 0;
                if (r != -EWOULDBLOCK && r != -EINTR)
                        break;
                (void) nanosleep(&interval, NULL);
        }
        if (r == -EWOULDBLOCK)
                return message_set(ret_message,
                                   -EBUSY,
                                   "Cannot use region \"%s\": another server has its shared memory there, or "
                                   "processes that it left behind",
                                   name);
        if (r < 0)
                return message_set(ret_message,
                                   r,
                                   "Cannot claim region \"%s\": %s",
                                   name,
                                   message_errno(r, buf, sizeof(buf)));

        *ret_fd = TAKE_FD(fd);
        return 0;
}

static void give_up(struct preload_region *r) {
        if (r->handle)
                (void) r->api.release(r->handle);
        r->handle = NULL;
        r->claim_fd = safe_close(r->claim_fd);
        r->owner = 0;
}

/* The lease and the claim, without the window. */
static int take(struct preload_region *r, const char *name, char **ret_message) {
        const struct mshare_acquire_options options = {
                .size = sizeof(options),
                .flags = MSHARE_ACQUIRE_DETACHED,
        };
        int k;

        /* What a parent took is the parent's: a child that maps anew must stand in line. */
        if (r->handle && r->owner == getpid())
                return 0;
        give_up(r);

        k = load_api(&r->api, ret_message);
        if (k < 0)
                return k;

        k = r->api.acquire(name, O_RDWR, &options, &r->handle, ret_message);
        if (k < 0)
                return k;

        k = claim(name, &r->claim_fd, ret_message);
        if (k < 0) {
                give_up(r);
                return k;
        }

        r->owner = getpid();
        return 0;
}

static int check_fit(struct preload_region *r, const char *name, size_t size, char **ret_message) {
        const char *backing = r->api.backing(r->handle);
        size_t room = strcmp(backing, "empty") == 0 ? r->api.length(r->handle) : r->api.size(r->handle);

        /* The memory must start as zeroes, and somebody's file is not ours to clear. */
        if (strcmp(backing, "file") == 0)
                return message_set(ret_message,
                                   -EOPNOTSUPP,
                                   "Cannot use region \"%s\": it is backed by a file, whose contents would be lost",
                                   name);

        if (size > room)
                return message_set(ret_message,
                                   -ENOMEM,
                                   "Cannot use region \"%s\": it has %zu bytes, and the server needs %zu",
                                   name,
                                   room,
                                   size);
        return 0;
}

/*
 * A fresh anonymous mapping is zero, and so must be what we hand out though an earlier server used it. Freeing
 * the pages keeps the mapping that the region was made with; where that cannot be (nothing is mapped, or the
 * memory is private), a new mapping takes its place, for the whole region.
 */
static int clear(struct preload_region *r, const char *name, size_t size, int flags, char **ret_message) {
        const long prot = PROT_READ | PROT_WRITE;
        const long map_flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | (flags & MAP_NORESERVE);
        void *start = r->api.address(r->handle);
        char buf[128];
        int k;

        if (madvise(start, size, MADV_REMOVE) < 0 &&
            syscall(SYS_mmap, start, size, prot, map_flags, -1L, 0L) == -1) {
                k = -xerrno();
                return message_set(ret_message,
                                   k,
                                   "Cannot clear %zu bytes of region \"%s\": %s",
                                   size,
                                   name,
                                   message_errno(k, buf, sizeof(buf)));
        }

        if (flags & MAP_POPULATE)
                (void) madvise(start, size, MADV_POPULATE_WRITE);
        return 0;
}

int preload_region_map(struct preload_region *r, const char *name, size_t size, int flags, char **ret_message) {
        int k;

        k = take(r, name, ret_message);
        if (k < 0)
                return k;

        k = check_fit(r, name, size, ret_message);
        if (k < 0)
                goto fail;

        k = r->api.attach(r->handle, ret_message);
        if (k < 0)
                goto fail;

        k = clear(r, name, size, flags, ret_message);
        if (k < 0)
                goto fail;

        r->size = size;
        r->window = r->api.address(r->handle);
        r->length = r->api.length(r->handle);
        r->start = r->window;
        return 0;

fail:
        give_up(r);
        return k;
}

int preload_region_unmap(struct preload_region *r) {
        int k;

        if (r->owner != getpid()) {
                k = r->api.release(r->handle);
                if (k < 0)
                        return k;
                r->handle = NULL;
                give_up(r);
        } else {
                k = r->api.detach(r->handle);
                if (k < 0)
                        return k;
        }

        r->start = NULL;
        return 0;
}
