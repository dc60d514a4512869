/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Identifies processes across exec and reuse of PIDs, and holds the data that a server and its children share. It knows nothing
 * about mappings.
 */

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

ProcessId process_of(pid_t pid) {
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

        /* The name in parentheses may contain any characters. */
        p = strrchr(text, ')');
        if (!p || sscanf(p + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                         &state, &start) != 2)
                return UINT64_MAX;
        if (state == 'Z' || state == 'X')
                return 0;
        return (ProcessId) start << PID_BITS | (ProcessId) pid;
}

ProcessId process_self(void) {
        ProcessId id = process_of(getpid());

        /* Without /proc, only the number is available. */
        return id == UINT64_MAX || id == 0 ? (ProcessId) getpid() : id;
}

bool process_alive(ProcessId id) {
        ProcessId now = process_of(process_pid(id));

        return now == UINT64_MAX || now == id;
}

PreloadFamily *preload_family_new(void) {
        const long size = sizeof(PreloadFamily), prot = PROT_READ | PROT_WRITE;
        PreloadFamily *f;

        /* Make the system call, because this library defines mmap(). */
        f = (PreloadFamily *) syscall(SYS_mmap, NULL, size, prot, (long) (MAP_SHARED | MAP_ANONYMOUS), -1L, 0L);
        if (f == MAP_FAILED)
                return NULL;
        atomic_store(&f->owner, process_self());
        return f;
}

bool preload_family_own(PreloadFamily *f) {
        ProcessId owner = atomic_load(&f->owner);

        if (process_pid(owner) == getpid())
                return true;
        return !process_alive(owner) && atomic_compare_exchange_strong(&f->owner, &owner, process_self());
}
