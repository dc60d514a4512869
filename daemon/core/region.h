/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "model/lease.h"
#include "model/limits.h"
#include "model/record.h"

typedef struct Manager Manager;
typedef struct Creation Creation;
typedef struct Resize Resize;

/* Properties that have changed since the last signal: bits of Region.dirty. */
#define REGION_DIRTY_CLIENTS (1u << 0)
#define REGION_DIRTY_MODE (1u << 1)
#define REGION_DIRTY_OWNER (1u << 2)
#define REGION_DIRTY_STATE (1u << 3)
#define REGION_DIRTY_PROGRESS (1u << 4)
#define REGION_DIRTY_SIZE (1u << 5)

struct Region {
        LIST_ENTRY(Region) regions;
        Manager *manager;
        RegionRecord record;
        char *path; /* bus object */
        LIST_HEAD(Leases, Lease) leases;
        unsigned n_leases;
        Users users; /* leases of each user, as LIMIT_USER_LEASES */
        Creation *creation; /* while it is being made; owned */
        Resize *resize; /* while its size changes; owned */
        double progress; /* 0 to 1 */
        bool read_only; /* for everyone, permanently; the kernel knows this, so the state file does not have it */
        sd_event_source *linger;
        uint64_t linger_usec; /* the current time between checks of a region without leases */
        unsigned dirty;
        bool announced, charged;
        bool holder_asked, holder_told; /* the bus was asked about the holder; a missing answer was logged */
        bool end_failed; /* ending its suspension failed, which was logged */
        bool deserted; /* its holder has left before it was created */
        uint64_t bytes_charged;
        bool id_is_new; /* its leases have another ID, which was in a state file that could not be read */
        uid_t payer; /* the user that the region is charged to, if charged */
};

/*
 * Enters a region in the manager's table, and charges it to its creator, even beyond the limits. Takes what is in *record and
 * clears it; the caller frees *record in any case. Does not check the record. Returns 0 or -ENOMEM.
 */
int region_new(Manager *manager, RegionRecord *record, Region **ret);
/*
 * Removes the region from all tables, and frees it. Calls that wait for its creation or resize are dropped or get an error. Its
 * state file and the FIFOs of its leases stay for the next run. Takes NULL.
 */
void region_free(Region *region);
DEFINE_CLEANUP(Region, region_free)
/* As region_free(), but removes the state file and the FIFOs, too. The name in msharefs stays. */
void region_forget(Region *region);

/* Writes the state file. 0 or negative errno. */
int region_save(Region *region);
/* The same where nothing is undone if that fails: logs the failure. */
void region_save_or_log(Region *region);
/* Logs that the state could not be saved, with the negative errno. */
void region_log_unsaved(Region *region, int r);

/*
 * Enters a lease that is in no list, counts it, and stops the linger timer. 0 with the lease owned by the region, or negative
 * errno with the lease still owned by the caller.
 */
int region_add_lease(Region *region, Lease *lease);
/*
 * Removes and frees a lease whose client has gone or has released it, and announces that. May start the region's linger timer.
 */
void region_drop_lease(Region *region, Lease *lease);

/* Starts the linger timer if the lifetime is while-leased and the last lease has gone. */
void region_check_linger(Region *region);

/* The directory of the region's file, for the functions of policy/acl.h; the caller does not close it. Or negative errno. */
int region_dir(const Region *region);
/* The mode as it would be without the access list, whose mask takes the place of the group bits. 0 or negative errno. */
int region_plain_mode(const Region *region, mode_t *ret);
/*
 * Sets the mode in the kernel, and removes all entries of the access list. Checks no rights and logs nothing. 0 or negative
 * errno.
 */
int region_apply_mode(Region *region, mode_t mode);

/* 1 if the region has leases or sharers, or is being resized, 0 if not, negative errno if the kernel cannot tell. */
int region_in_use(Region *region);
