/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_BROKER_CLIENT_H
#define MSHARE_BROKER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "own-fd.h"

/* What the broker says of a region when it grants a lease. */
struct broker_lease {
        uint64_t address;
        uint64_t length;
        uint64_t size;
        char *backing;
        struct own_fd lease;
        struct own_fd region; /* the region's file; none if the broker does not know OpenRegion */
};

#define BROKER_LEASE_NONE ((struct broker_lease){.lease = {.fd = -1}, .region = {.fd = -1}})

/* Closes what is still ours, and is BROKER_LEASE_NONE then. */
void broker_lease_done(struct broker_lease *lease);

/*
 * Ask the broker for a lease and, if it can, the region's file opened for that access. access is "r" or "rw"; timeout_usec 0 is sd-bus's own, UINT64_MAX is none. Blocks
 * until the broker has answered, or, while the bus has no room for us (-EUSERS), until the time is over: 25 s
 * with no limit, too. Has closed its connection when it returns. On failure *ret is untouched.
 */
int broker_acquire(const char *name,
                   const char *access,
                   uint64_t timeout_usec,
                   bool interactive,
                   struct broker_lease *ret,
                   char **ret_message);

#endif
