/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "broker-client.h"
#include "mshare.h"

/* The handle of a program that has acquired a region. region.c makes it. */
struct mshare_region {
        char *name;
        int oflag;
        bool attached;
        BrokerLease lease;
};

static inline void *handle_address(const mshare_region *region) {
        return (void *) (uintptr_t) region->lease.address;
}
