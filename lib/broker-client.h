/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "own-fd.h"

/* What the broker returns about a region when it grants a lease. Address, length and size are in bytes. */
typedef struct BrokerLease {
        uint64_t address;
        uint64_t length;
        uint64_t size;
        char *backing;
        OwnFd lease;
        OwnFd region; /* the region's file; none if the broker does not know OpenRegion */
} BrokerLease;

#define BROKER_LEASE_NONE ((BrokerLease){ .lease = { .fd = -1 }, .region = { .fd = -1 } })

/* Closes the descriptors unless the program has closed them, and sets *lease to BROKER_LEASE_NONE. */
void broker_lease_done(BrokerLease *lease);

/*
 * Asks the broker for a lease and, if it can, for the region's file, opened for that access. access is "r" or "rw".
 * timeout_usec is the longest wait for one answer: 0 is the default of sd-bus, UINT64_MAX is no limit. Blocks until the broker
 * has answered. While the bus accepts no connection (-EUSERS), blocks until the time is over, or for 25 s if there is no limit.
 * Keeps no connection. 0, or negative errno and a message with *ret unchanged.
 */
int broker_acquire(const char *name, const char *access, uint64_t timeout_usec, bool interactive, BrokerLease *ret,
                   char **ret_message);
