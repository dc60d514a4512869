/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include "own-fd.h"

/*
 * Locks the region's file, so that servers that start at the same time take turns. A process that can only read the region
 * cannot hold this lock. file is that file, opened for writing, or -1: then it is opened in msharefs, which a container may not
 * have. Waits for at most *tries tenths of a second. Refuses a region whose owner is neither root nor the effective user,
 * because the owner could read the server's data. 0, or negative errno and a message.
 */
int preload_claim_open(const char *name, int file, OwnFd *ret, unsigned int *tries, char **ret_message);

/*
 * How many processes keep a server out of the region. The kernel counts them, so this holds even if the lock is lost because a
 * server has closed the descriptor. Processes that can write to the region count. Processes that can only read it count if the
 * mode now admits only the owner, because they attached when it admitted others. Opens the file again if the server has closed
 * it. 0, or negative errno and a message.
 */
int preload_claim_count(const char *name, int file, OwnFd *claim, unsigned int *ret, char **ret_message);

/* Uses one try and waits a tenth of a second; false if no try is left. */
bool preload_claim_wait(unsigned int *tries);
