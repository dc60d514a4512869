/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Keeps descriptors that the program may close without the library's knowledge. It knows only which file a descriptor referred
 * to.
 */

#include <sys/stat.h>

#include "own-fd.h"
#include "util.h"

int own_fd_set(OwnFd *f, int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -xerrno();
        *f = (OwnFd){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
        return 0;
}

bool own_fd_valid(const OwnFd *f) {
        struct stat st;
        int saved = errno;
        bool valid;

        valid = f->fd >= 0 && fstat(f->fd, &st) >= 0 && st.st_dev == f->dev && st.st_ino == f->ino;
        errno = saved;
        return valid;
}

void own_fd_close(OwnFd *f) {
        if (own_fd_valid(f))
                (void) safe_close(f->fd);
        *f = OWN_FD_NONE;
}
