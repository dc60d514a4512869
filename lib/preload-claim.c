/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Keeps two servers out of one region: locks the region's file, and reads from the kernel how many processes can write
 * to the region. It must not attach anything.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "message.h"
#include "names.h"
#include "preload-claim.h"
#include "util.h"

#define INTERVAL_NSEC (100 * 1000 * 1000L)

bool preload_claim_wait(unsigned int *tries) {
        const struct timespec interval = { .tv_nsec = INTERVAL_NSEC };

        if (*tries == 0)
                return false;
        (*tries)--;
        (void) nanosleep(&interval, NULL);
        return true;
}

static int open_region(const char *name, int file, int *ret, struct stat *ret_st, char **ret_message) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closep) int fd = -1;
        char buf[128];
        int r;

        if (asprintf(&path, MSHAREFS_PATH "/%s", name) < 0) {
                path = NULL;
                return message_region(ret_message, -ENOMEM, "claim", name, "out of memory");
        }

        fd = file >= 0 ? fcntl(file, F_DUPFD_CLOEXEC, 3) : open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, ret_st) < 0) {
                r = -xerrno();
                return message_region(ret_message, r, "claim", name, "%s: %s", path,
                                      message_errno(r, buf, sizeof(buf)));
        }

        *ret = TAKE_FD(fd);
        return 0;
}

/*
 * Locks the first byte of the file for writing, which needs a descriptor that is open for writing. flock() does not need one:
 * with it, a process that can only read the region could keep the server out. Such a process can still take a read lock. No
 * server does that, so then go on without the lock. This is safe because the lock only makes servers wait for each other. What
 * keeps them apart is the kernel's count of writers, even if the other server has an older library. The lock belongs to the
 * open file: processes that the server forks hold it, too, but programs that it executes do not. -EWOULDBLOCK: a process that
 * can write to the region has the lock.
 */
static int lock_file(int fd) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };

        if (fcntl(fd, F_OFD_SETLK, &lock) >= 0)
                return 0;
        if (errno != EAGAIN && errno != EACCES)
                return -xerrno();

        /* A read lock conflicts only with a write lock. */
        lock = (struct flock){ .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 1 };
        if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
                return -xerrno();
        return lock.l_type == F_UNLCK ? 0 : -EWOULDBLOCK;
}

int preload_claim_open(const char *name, int file, OwnFd *ret, unsigned int *tries, char **ret_message) {
        _cleanup_(closep) int fd = -1;
        char buf[128];
        struct stat st = {};
        int r;

        r = open_region(name, file, &fd, &st, ret_message);
        if (r < 0)
                return r;

        if (st.st_uid != 0 && st.st_uid != geteuid())
                return message_region(ret_message, -EPERM, "use", name,
                                      "its owner, user %u, could read the server's data; the owner must be root or "
                                      "user %u (msharectl chown)",
                                      (unsigned int) st.st_uid, (unsigned int) geteuid());

        do
                r = lock_file(fd);
        while ((r == -EWOULDBLOCK || r == -EINTR) && preload_claim_wait(tries));
        if (r == -EWOULDBLOCK)
                return message_region(ret_message, -EBUSY, "use", name,
                                      "another server, or a process that it left behind, uses it");
        if (r >= 0)
                r = own_fd_set(ret, fd);
        if (r < 0)
                return message_region(ret_message, r, "claim", name, "%s", message_errno(r, buf, sizeof(buf)));

        TAKE_FD(fd);
        return 0;
}

static int open_again(const char *name, int file, OwnFd *claim, char **ret_message) {
        const OwnFd before = *claim;
        _cleanup_(closep) int fd = -1;
        struct stat st = {};
        int r;

        r = open_region(name, file, &fd, &st, ret_message);
        if (r < 0)
                return r;
        if (st.st_dev != before.dev || st.st_ino != before.ino)
                return message_region(ret_message, -ESTALE, "use", name,
                                      "it was removed, and another region has its name now");

        /* If another server takes the lock from now on, it finds this process among the writers. */
        (void) lock_file(fd);
        claim->fd = TAKE_FD(fd);
        return 0;
}

static int read_count(const char *text, const char *key, unsigned int *ret) {
        const char *p = strstr(text, key);

        return p && sscanf(p + strlen(key), "%u", ret) == 1 ? 0 : -ENODATA;
}

int preload_claim_count(const char *name, int file, OwnFd *claim, unsigned int *ret, char **ret_message) {
        unsigned int sharers = 0, writers = 0;
        char path[64], text[1024] = "", buf[128];
        _cleanup_(closep) int fd = -1;
        struct stat st = {};
        ssize_t n = -1;
        int r;

        if (!own_fd_valid(claim)) {
                r = open_again(name, file, claim, ret_message);
                if (r < 0)
                        return r;
        }
        if (fstat(claim->fd, &st) < 0) {
                r = -xerrno();
                return message_region(ret_message, r, "claim", name, "%s", message_errno(r, buf, sizeof(buf)));
        }

        (void) snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", claim->fd);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
                n = read(fd, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = '\0';
        if (read_count(text, "mshare-sharers:", &sharers) < 0)
                return message_region(ret_message, -ENODATA, "use", name,
                                      "%s does not show how many processes share it, and the data of another server "
                                      "must not be cleared",
                                      path);
        /* If the kernel does not have this line, any sharer may be a writer. */
        if (read_count(text, "mshare-writers:", &writers) < 0)
                writers = sharers;

        /* The group's bits are the mask of an access list, so they are set if it admits a reader. */
        *ret = st.st_mode & (S_IRGRP | S_IROTH) ? writers : sharers;
        return 0;
}
