/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_H
#define MSHARE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What read(2) on a file of msharefs returns: the region's window. Both figures are in bytes and are
 * multiples of the granule, which /proc/sys/vm/mshare_size holds.
 */
struct mshare_info {
        uint64_t start;
        uint64_t size;
};

/*
 * Create a region or attach to one: see mshare(2). addr and length are in bytes, multiples of the granule.
 * oflag is O_RDONLY or O_RDWR, optionally with O_CREAT and O_EXCL; mode is used only with O_CREAT.
 * Returns 0, or -1 with errno set (ENOSYS: a kernel without mshare). May sleep.
 */
int mshare(const char *name, void *addr, size_t length, int oflag, mode_t mode);

/*
 * Detach the caller from the region, and remove its name if that was the last sharer: see mshare_unlink(2).
 * Returns 0, or -1 with errno set. May sleep.
 */
int mshare_unlink(const char *name);

/*
 * The calls below use the broker, mshared, and return a negative errno on failure; they leave errno itself
 * alone. They may be called from any thread; one handle must not be used by two threads at a time. Where a
 * call takes ret_message, it may be NULL. Otherwise *ret_message is set to one sentence in English that
 * says what failed and what would be right, to be freed with free(3), or to NULL on success or without
 * memory.
 */

/* A region that this process is a client of: its lease, and its window while the region is attached. */
typedef struct mshare_region mshare_region;

/* Let polkit ask the user for a password, where the region's mode does not admit the caller. */
#define MSHARE_ACQUIRE_INTERACTIVE 1U
/* Take only the lease and attach nothing: mshare_region_attach() does that later. */
#define MSHARE_ACQUIRE_DETACHED 2U

/*
 * How to acquire. Set size to sizeof(struct mshare_acquire_options) and unused fields to zero: fields that later
 * versions append then have their defaults.
 */
struct mshare_acquire_options {
        size_t size;
        uint64_t timeout_usec; /* the longest wait for one answer of the broker, microseconds; 0: 25 seconds */
        unsigned int flags; /* MSHARE_ACQUIRE_*; a flag that this version does not know is EINVAL */
        unsigned int reserved; /* 0 */
};

/*
 * Become a client of the region and attach it. oflag is O_RDONLY or O_RDWR, nothing else; options may be
 * NULL. On success *ret owns the lease and the window until mshare_region_release(); on failure *ret is
 * unchanged. Asks the broker over the system bus and blocks until it has answered; keeps no connection.
 */
int mshare_region_acquire(const char *name, int oflag, const struct mshare_acquire_options *options,
                          mshare_region **ret, char **ret_message);

/*
 * Unmap the window, close the lease and free the handle; NULL is fine. After fork(2) parent and child each
 * release their own. On failure (ENOMEM) the handle, the window and the lease stay as they were.
 */
int mshare_region_release(mshare_region *region);

/*
 * Unmap the window and keep the lease, so that the region is not removed meanwhile, except by force; and
 * put the window back. Attaching an attached region is EEXIST, detaching a detached one ENXIO. Neither asks
 * the broker.
 */
int mshare_region_detach(mshare_region *region);
int mshare_region_attach(mshare_region *region, char **ret_message);

/* The region's name; the handle owns the string. */
const char *mshare_region_name(const mshare_region *region);
/* The address of the window, also while it is detached. */
void *mshare_region_address(const mshare_region *region);
/* Bytes of the window, a multiple of the granule. */
size_t mshare_region_length(const mshare_region *region);
/*
 * Bytes from the start of the window that the region had when it was acquired; there may be no mapping beyond them. A
 * region that is resized later has another size: see the broker's property Size.
 */
size_t mshare_region_size(const mshare_region *region);
/* The kind of memory: "anonymous", "memfd", "hugetlb", "file", "empty"; the handle owns the string. */
const char *mshare_region_backing(const mshare_region *region);
/* The lease, a file descriptor that exec(2) closes. The handle owns it: never close it. */
int mshare_region_lease_fd(const mshare_region *region);
/*
 * The region's file, opened for the access that was acquired, or -1 if there is none: the broker is older than
 * OpenRegion, or the program has closed it. A process that receives it over a socket can attach the region by mmap() of
 * its whole length with MAP_SHARED, if the kernel supports that. exec(2) closes it. The handle owns it: never close it.
 */
int mshare_region_fd(const mshare_region *region);

#ifdef __cplusplus
}
#endif

#endif
