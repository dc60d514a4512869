/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_OWN_FD_H
#define MSHARE_OWN_FD_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * A descriptor of the library in a program that may not know about it: servers close all descriptors that they find, and their
 * next file gets the same number. So the library remembers which file it was.
 */
struct own_fd {
        int fd;
        dev_t dev;
        ino_t ino;
};

#define OWN_FD_NONE ((struct own_fd){ .fd = -1 })

/* Remember which file fd is. Does not close it on failure. Negative errno, or 0. */
int own_fd_set(struct own_fd *f, int fd);
/* Is it still that file? */
bool own_fd_valid(const struct own_fd *f);
/* Close it if it is still that file, and forget it. Keeps errno. */
void own_fd_close(struct own_fd *f);

#endif
