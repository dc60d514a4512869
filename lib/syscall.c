/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The two system calls. It knows neither broker nor handles. */

#include <sys/syscall.h>
#include <unistd.h>

#include "mshare.h"

/* arch/x86/entry/syscalls/syscall_64.tbl of the patched kernel. No C library knows these numbers yet. */
#ifndef __NR_mshare
#define __NR_mshare 548
#endif
#ifndef __NR_mshare_unlink
#define __NR_mshare_unlink 549
#endif

#define EXPORT __attribute__((visibility("default")))

EXPORT int mshare(const char *name, void *addr, size_t length, int oflag, mode_t mode) {
        return (int) syscall(__NR_mshare, name, addr, length, oflag, mode);
}

EXPORT int mshare_unlink(const char *name) {
        return (int) syscall(__NR_mshare_unlink, name);
}
