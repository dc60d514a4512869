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
 * What read(2) on a file of msharefs returns: where the region lies. Both figures are in bytes and are
 * multiples of the granule, which /proc/sys/vm/mshare_size holds.
 */
struct mshare_info {
        uint64_t start;
        uint64_t size;
};

/*
 * Create a region or attach to one: see mshare(2). addr and length are in bytes, multiples of the granule.
 * oflag is O_RDONLY or O_RDWR, with O_CREAT and O_EXCL if wanted; mode counts for O_CREAT only.
 * Returns 0, or -1 with errno set (ENOSYS: a kernel without mshare). May sleep.
 */
int mshare(const char *name, void *addr, size_t length, int oflag, mode_t mode);

/*
 * Detach the caller from the region, and remove its name if nobody shares it then: see mshare_unlink(2).
 * Returns 0, or -1 with errno set. May sleep.
 */
int mshare_unlink(const char *name);

#ifdef __cplusplus
}
#endif

#endif
