/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/queue.h>
#include <systemd/sd-event.h>

#include "basic/util.h"
#include "model/access.h"

typedef struct Lease Lease;
typedef struct Region Region;

/*
 * One client: a FIFO whose write end the client's processes hold. The FIFO's name contains everything that is known about the
 * client. So one system call creates or removes all of it, and no second file can contradict it.
 */
typedef struct LeaseRecord {
        uint64_t region_id, id;
        uid_t uid;
        pid_t pid; /* for display only */
        Access access;
        uint64_t since_usec; /* CLOCK_REALTIME */
        char *sender; /* unique bus name, or NULL if the client was on an earlier bus */
        char *unit; /* for display only; or NULL */
} LeaseRecord;

struct Lease {
        LIST_ENTRY(Lease) leases;
        Region *region;
        LeaseRecord record;
        char *file; /* in the lease directory */
        int fd; /* read end, which is never read; it hangs up when the last holder has closed its end */
        sd_event_source *source;
};

void lease_record_done(LeaseRecord *record);
/* The FIFO's name, to be freed. NULL without memory. A unit name that does not fit is left out. */
char *lease_record_format(const LeaseRecord *record);
/* The reverse. 0, -EBADMSG or -ENOMEM. */
int lease_record_parse(const char *name, LeaseRecord *ret);

/*
 * Creates the FIFO. *ret_fd is the write end, for the client; the caller closes it. The lease is in no list yet, and takes over
 * *record on success. 0 or negative errno. Never sleeps.
 */
int lease_new(int dirfd, LeaseRecord *record, Lease **ret, int *ret_fd);
/*
 * Opens the FIFO of a lease of an earlier run, and takes over *record on success. If no process holds the lease any more, the
 * hang-up is reported at once. 0; -EBADMSG if the file is not a FIFO; or another negative errno.
 */
int lease_open(int dirfd, const char *file, LeaseRecord *record, Lease **ret);
/* Calls `dropped` when the last process has closed the lease, before any bus request that came later. */
int lease_watch(Lease *lease, sd_event *event, sd_event_io_handler_t dropped);
/*
 * Removes the bus name of the client, a name of an earlier bus, from the record and from the FIFO's name. 0 or negative errno;
 * the name is removed from the record in any case.
 */
int lease_forget_sender(Lease *lease, int dirfd);
/* Frees a lease that is in no list; the FIFO stays for the next run of the broker. Takes NULL. */
void lease_free(Lease *lease);
DEFINE_CLEANUP(Lease, lease_free)
/* The same, but removes the FIFO, because the client has gone. */
void lease_drop(Lease *lease, int dirfd);
