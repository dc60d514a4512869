/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Intercepts mmap() and its relatives: the large shared anonymous mappings of a server are placed in the region that
 * MSHARE_REGION names. See mshare-postgresql(7). preload-state.c decides.
 *
 * All other calls go to the kernel unchanged, by system call: looking up the next mmap() could allocate memory, and allocators
 * call mmap().
 */

/* Otherwise the headers rename mmap() to mmap64(), but this file must define both; off_t has 64 bits either way. */
#undef _FILE_OFFSET_BITS

#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload-state.h"
#include "util.h"

#ifndef MAP_HUGE_MASK
#define MAP_HUGE_MASK 0x3fU
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

/* Flags of a mapping that a region can replace. With MAP_FIXED, the program chooses the address. */
#define FLAGS_WANTED (MAP_SHARED | MAP_ANONYMOUS)
#define FLAGS_HUGE (MAP_HUGETLB | (int) ((unsigned int) MAP_HUGE_MASK << MAP_HUGE_SHIFT))
#define FLAGS_ALLOWED (FLAGS_WANTED | MAP_NORESERVE | MAP_POPULATE | FLAGS_HUGE)

/* The kernel reads whole registers, but an int fills only half of one. */
static void *plain_mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset) {
        return (void *) syscall(SYS_mmap, addr, length, (long) prot, (long) flags, (long) fd, offset);
}

static const char *why_unfit(int prot, int flags) {
        if (flags & MAP_32BIT)
                return "requested below 2 GiB (MAP_32BIT), where no window can be";
        if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))
                return "requested at a fixed address (MAP_FIXED)";
        if (flags & ~FLAGS_ALLOWED)
                return "requested with flags that a region does not support, such as MAP_LOCKED";
        if (prot & PROT_EXEC)
                return "requested as executable";
        if (prot != (PROT_READ | PROT_WRITE))
                return "not readable and writable";
        return NULL;
}

_public_ void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset) {
        const PreloadWish wish = {
                .size = length,
                .flags = flags,
                .huge = flags & MAP_HUGETLB,
                .unfit = why_unfit(prot, flags),
                .segment = -1,
        };
        bool unfit = false;
        void *result;

        if ((flags & FLAGS_WANTED) == FLAGS_WANTED && !preload_inside())
                switch (preload_decide(&wish, &result)) {
                case PRELOAD_PLACED:
                        return result;
                case PRELOAD_REFUSED:
                        return MAP_FAILED;
                case PRELOAD_UNFIT:
                        unfit = true;
                        break;
                case PRELOAD_PLAIN:
                default:
                        break;
                }

        result = plain_mmap(addr, length, prot, flags, fd, offset);
        /*
         * Report it only now: if the kernel refuses this address, the program may request any other, and that memory can be in
         * the region. PHP's opcache does so.
         */
        if (unfit && result != MAP_FAILED)
                preload_tell_unfit(&wish);
        return result;
}

_public_ void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
        __attribute__((alias("mmap")));

/*
 * Inside a window munmap() acts for all sharers, but a server that unmaps its memory means only itself: for example a logger
 * that needs none, or a postmaster that starts again. So remove the mapping from this process's list. A child without any
 * mapping detaches the whole window.
 */
_public_ int munmap(void *addr, size_t length) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), size = (length + page - 1) & ~(page - 1);
        PreloadRegion *region;
        PreloadMapping *m;
        int r;

        if (!preload_in_window(addr, length))
                return (int) syscall(SYS_munmap, addr, length);

        region = preload_enter();
        m = preload_region_find(region, addr);
        /* Unmapping a part would unmap it in all sharers. */
        r = m && m->size == size && m->segment < 0 ? preload_region_unmap(region, m) : -EINVAL;
        preload_leave();

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

        /* The same applies here: it would grow, shrink or move the memory for all processes of the server. */
        if (preload_in_window(addr, old_length > 0 ? old_length : 1)) {
                errno = EINVAL;
                return MAP_FAILED;
        }

        return (void *) syscall(SYS_mremap, addr, old_length, new_length, (long) flags, new_addr);
}
