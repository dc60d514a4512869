/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_OWN_FD_H
#define MSHARE_OWN_FD_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A descriptor of the library in a program that may not know about it: servers close all descriptors that they find, and their
 * next file gets the same number. So the library remembers which file it was.
 */
typedef struct OwnFd {
        int fd;
        dev_t dev;
        ino_t ino;
} OwnFd;

#define OWN_FD_NONE ((OwnFd){ .fd = -1 })

/* Remember which file fd is. Does not close it on failure. Negative errno, or 0. */
int own_fd_set(OwnFd *f, int fd);
/* Is it still that file? */
bool own_fd_valid(const OwnFd *f);
/* Close it if it is still that file, and forget it. Keeps errno. */
void own_fd_close(OwnFd *f);

#endif
