/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/mman.h>

#include "mshare.h"

/* Without mshare(2), private memory in the window, so that everything around it can be tested. */
int mshare(const char *name, void *addr, size_t length, int oflag, mode_t mode) {
        void *p = mmap(addr, length, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

        if (p == MAP_FAILED)
                return -1;
        if (p != addr) {
                (void) munmap(p, length);
                errno = EEXIST;
                return -1;
        }
        return 0;
}
