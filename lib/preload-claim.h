/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_PRELOAD_CLAIM_H
#define MSHARE_PRELOAD_CLAIM_H

#include <stdbool.h>
#include <sys/types.h>

/* A descriptor of ours in a process that may close it and use its number for a file of its own. */
struct preload_fd {
        int fd;
        dev_t dev;
        ino_t ino;
};

#define PRELOAD_FD_NONE ((struct preload_fd){.fd = -1})

/* Remember what fd is. The struct does not own it until the caller says so. Negative errno, or 0. */
int preload_fd_set(struct preload_fd *f, int fd);
/* Is it still what it was? */
bool preload_fd_valid(const struct preload_fd *f);
/* Close it if it is still ours, and forget it. */
void preload_fd_close(struct preload_fd *f);

/*
 * The region's file, opened and locked, so that no other server takes the region at the same time. Waits until
 * *tries, of a tenth of a second each, are used up. Refuses a region whose owner is neither root nor the
 * effective user: its owner could read all that the server puts there. Negative errno and a sentence, or 0.
 */
int preload_claim_open(const char *name, struct preload_fd *ret, unsigned int *tries, char **ret_message);

/*
 * How many processes have the region attached, by the kernel's own count: the claim that outlives the lock, which
 * goes with a descriptor that a server may close. Opens the file again if that has happened.
 * Negative errno and a sentence, or 0.
 */
int preload_claim_sharers(const char *name, struct preload_fd *claim, unsigned int *ret, char **ret_message);

/* Uses up a try and waits a tenth of a second; false if none is left. */
bool preload_claim_wait(unsigned int *tries);

#endif
