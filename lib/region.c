/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The public functions of libmshare, except for the two system calls: checks arguments and keeps the handle.
 * broker-client.c talks to the broker, region-attach.c to the kernel.
 */

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>

#include "handle.h"
#include "kinds.h"
#include "message.h"
#include "region-attach.h"
#include "util.h"

#define OPTIONS_SIZE_MAX 4096

static mshare_region *region_free(mshare_region *region) {
        if (!region)
                return NULL;

        broker_lease_done(&region->lease);
        free(region->name);
        free(region);
        return NULL;
}

static void region_freep(mshare_region **region) {
        *region = region_free(*region);
}

static int check_name(const char *name, char **ret_message) {
        size_t n;

        if (!name)
                return message_set(ret_message, -EINVAL, "Cannot acquire a region: no name is given");

        n = strnlen(name, NAME_MAX + 1);
        if (n == 0 || n > NAME_MAX)
                return message_set(ret_message, -EINVAL,
                                   "Cannot acquire a region: its name must have 1 to %d bytes, not %s", NAME_MAX,
                                   n == 0 ? "none" : "more");

        if (strchr(name, '/') || streq(name, ".") || streq(name, ".."))
                return message_region(ret_message, -EINVAL, "acquire", name,
                                      "its name contains a slash or is '.' or '..'");
        return 0;
}

/*
 * The program may have been built with an older or a newer header. Fields that an older header lacks are zero. If a newer
 * header has a field that is set but not known here, refuse it and do not ignore it.
 */
static int copy_options(const struct mshare_acquire_options *options, struct mshare_acquire_options *ret,
                        char **ret_message) {
        struct mshare_acquire_options copy = { .size = sizeof(copy) };
        const unsigned int known = MSHARE_ACQUIRE_INTERACTIVE | MSHARE_ACQUIRE_DETACHED;
        size_t i;

        if (options) {
                if (options->size < offsetof(struct mshare_acquire_options, reserved) ||
                    options->size > OPTIONS_SIZE_MAX)
                        return message_set(ret_message, -EINVAL,
                                           "Cannot acquire a region: the options' size is %zu, not sizeof(struct "
                                           "mshare_acquire_options)",
                                           options->size);

                for (i = sizeof(copy); i < options->size; i++)
                        if (((const unsigned char *) options)[i] != 0)
                                return message_set(ret_message, -E2BIG,
                                                   "Cannot acquire a region: an option at byte %zu is newer than "
                                                   "this libmshare",
                                                   i);

                memcpy(&copy, options, options->size < sizeof(copy) ? options->size : sizeof(copy));
        }

        if (copy.flags & ~known || copy.reserved != 0)
                return message_set(ret_message, -EINVAL,
                                   "Cannot acquire a region: flags 0x%x are unknown to this libmshare",
                                   copy.reserved != 0 ? copy.reserved : copy.flags & ~known);

        *ret = copy;
        return 0;
}

/* The broker is trusted, but an impossible window must not reach the kernel or the caller. */
static int check_window(const mshare_region *region, char **ret_message) {
        const BrokerLease *l = &region->lease;

        if (l->address == 0 || l->length == 0 || l->address > UINTPTR_MAX - l->length || l->size > l->length)
                return message_region(ret_message, -EBADMSG, "acquire", region->name,
                                      "the broker returned an impossible window: address 0x%llx, length %llu, size "
                                      "%llu",
                                      (unsigned long long) l->address, (unsigned long long) l->length,
                                      (unsigned long long) l->size);
        return 0;
}

static int region_acquire(const char *name, int oflag, const struct mshare_acquire_options *options,
                          mshare_region **ret, char **ret_message) {
        _cleanup_(region_freep) mshare_region *region = NULL;
        struct mshare_acquire_options o = {};
        int r;

        if (!ret)
                return message_set(ret_message, -EINVAL, "Cannot acquire a region: no pointer for the handle is given");

        r = check_name(name, ret_message);
        if (r < 0)
                return r;

        if (oflag != O_RDONLY && oflag != O_RDWR)
                return message_region(ret_message, -EINVAL, "acquire", name,
                                      "access 0x%x is neither O_RDONLY nor O_RDWR", (unsigned int) oflag);

        r = copy_options(options, &o, ret_message);
        if (r < 0)
                return r;

        region = calloc(1, sizeof(*region));
        if (!region)
                return message_region(ret_message, -ENOMEM, "acquire", name, "out of memory");
        region->lease = BROKER_LEASE_NONE;
        region->oflag = oflag;
        region->name = strdup(name);
        if (!region->name)
                return message_region(ret_message, -ENOMEM, "acquire", name, "out of memory");

        r = broker_acquire(name, access_to_string(oflag == O_RDWR ? ACCESS_READ_WRITE : ACCESS_READ), o.timeout_usec,
                           o.flags & MSHARE_ACQUIRE_INTERACTIVE, &region->lease, ret_message);
        if (r < 0)
                return r;

        r = check_window(region, ret_message);
        if (r < 0)
                return r;

        if (!(o.flags & MSHARE_ACQUIRE_DETACHED)) {
                r = region_attach(region, ret_message);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(region);
        return 0;
}

_public_ int mshare_region_acquire(const char *name, int oflag, const struct mshare_acquire_options *options,
                                   mshare_region **ret, char **ret_message) {
        int saved = errno, r;

        if (ret_message)
                *ret_message = NULL;
        r = region_acquire(name, oflag, options, ret, ret_message);
        errno = saved;
        return r;
}

_public_ int mshare_region_attach(mshare_region *region, char **ret_message) {
        int saved = errno, r;

        if (ret_message)
                *ret_message = NULL;
        if (!region)
                return message_set(ret_message, -EINVAL, "Cannot attach a region: no handle is given");
        if (region->attached)
                return message_region(ret_message, -EEXIST, "attach", region->name, "it is already attached");

        r = region_attach(region, ret_message);
        errno = saved;
        return r;
}

/* Unmapping the whole window detaches. Unmapping a part would change the region for all sharers. */
_public_ int mshare_region_detach(mshare_region *region) {
        int saved = errno, r = 0;

        if (!region)
                return -EINVAL;
        if (!region->attached)
                return -ENXIO;

        if (munmap(handle_address(region), region->lease.length) < 0)
                r = -xerrno();
        else
                region->attached = false;
        errno = saved;
        return r;
}

_public_ int mshare_region_release(mshare_region *region) {
        int r;

        if (!region)
                return 0;

        if (region->attached) {
                r = mshare_region_detach(region);
                if (r < 0)
                        return r;
        }

        /* Unmap the window first: without a lease the broker would not know that this process is still a sharer. */
        region_free(region);
        return 0;
}

_public_ const char *mshare_region_name(const mshare_region *region) {
        return region->name;
}

_public_ void *mshare_region_address(const mshare_region *region) {
        return handle_address(region);
}

_public_ size_t mshare_region_length(const mshare_region *region) {
        return region->lease.length;
}

_public_ size_t mshare_region_size(const mshare_region *region) {
        return region->lease.size;
}

_public_ const char *mshare_region_backing(const mshare_region *region) {
        return region->lease.backing;
}

_public_ int mshare_region_lease_fd(const mshare_region *region) {
        return region->lease.lease.fd;
}

_public_ int mshare_region_fd(const mshare_region *region) {
        return own_fd_valid(&region->lease.region) ? region->lease.region.fd : -1;
}
