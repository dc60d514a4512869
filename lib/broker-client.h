/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_BROKER_CLIENT_H
#define MSHARE_BROKER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

/* What the broker says of a region when it grants a lease. */
struct broker_lease {
        uint64_t address;
        uint64_t length;
        uint64_t size;
        char *backing;
        int fd;
};

void broker_lease_done(struct broker_lease *lease);

/*
 * Ask the broker for a lease. access is "r" or "rw"; timeout_usec 0 is sd-bus's own, UINT64_MAX is none. Blocks
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
