/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * A descriptor of the library in a program that does not know about it. A server may close all descriptors that it finds, and
 * the next file that it opens gets the same number. So the library remembers which file it was.
 */
typedef struct OwnFd {
        int fd;
        dev_t dev;
        ino_t ino;
} OwnFd;

#define OWN_FD_NONE ((OwnFd){ .fd = -1 })

/* Remembers which file fd is. On failure fd stays open, and is still the caller's. 0 or negative errno. */
int own_fd_set(OwnFd *f, int fd);
/* Whether the descriptor still refers to that file. Keeps errno. */
bool own_fd_valid(const OwnFd *f);
/* Closes it if it still refers to that file, and forgets it. Keeps errno. */
void own_fd_close(OwnFd *f);
