/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload-family.h"
#include "util.h"

#define PID_BITS 22 /* the kernel's PID_MAX_LIMIT */

process_id process_of(pid_t pid) {
        _cleanup_(closep) int fd = -1;
        unsigned long long start;
        char path[32], text[1024], state;
        const char *p;
        ssize_t n;

        if (pid <= 0)
                return 0;
        (void) snprintf(path, sizeof(path), "/proc/%d/stat", (int) pid);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return kill(pid, 0) < 0 && errno == ESRCH ? 0 : UINT64_MAX;
        n = read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return n < 0 && errno == ESRCH ? 0 : UINT64_MAX;
        text[n] = '\0';

        /* The name in parentheses may have any characters. */
        p = strrchr(text, ')');
        if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                         &state, &start) != 2)
                return UINT64_MAX;
        if (state == 'Z' || state == 'X')
                return 0;
        return (process_id) start << PID_BITS | (process_id) pid;
}

process_id process_self(void) {
        process_id id = process_of(getpid());

        /* Without /proc the number alone has to do. */
        return id == UINT64_MAX || id == 0 ? (process_id) getpid() : id;
}

bool process_alive(process_id id) {
        process_id now = process_of(process_pid(id));

        return now == UINT64_MAX || now == id;
}

struct preload_family *preload_family_new(void) {
        const long size = sizeof(struct preload_family), prot = PROT_READ | PROT_WRITE;
        struct preload_family *f;

        /* By system call: mmap() is ours. */
        f = (struct preload_family *) syscall(SYS_mmap, NULL, size, prot, (long) (MAP_SHARED | MAP_ANONYMOUS), -1L, 0L);
        if (f == MAP_FAILED)
                return NULL;
        atomic_store(&f->owner, process_self());
        return f;
}

bool preload_family_own(struct preload_family *f) {
        process_id owner = atomic_load(&f->owner);

        if (process_pid(owner) == getpid())
                return true;
        return !process_alive(owner) && atomic_compare_exchange_strong(&f->owner, &owner, process_self());
}
