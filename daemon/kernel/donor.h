/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "kernel/kernel.h"
#include "kinds.h"
#include "model/name.h"
#include "numa.h"

/*
 * The donor: a short-lived child process that creates a region, maps its memory and populates it, or changes how much of a
 * region is mapped. The broker itself never maps a region's memory, so it never sleeps in a page fault and never counts as a
 * sharer.
 */
typedef enum DonorStage {
        DONOR_START, /* the process itself */
        DONOR_NODES, /* check that all nodes of the memory policy can be used */
        DONOR_RANGE, /* check that the window is free in a new process */
        DONOR_MSHARE, /* mshare(2) */
        DONOR_FILE, /* memfd_create(2), or checks of the file that was passed */
        DONOR_MMAP,
        DONOR_ADVISE, /* huge pages */
        DONOR_POLICY, /* mbind(2) */
        DONOR_MEMORY, /* check that there is enough memory to go on populating */
        DONOR_POPULATE,
        DONOR_ATTACH, /* mmap(2) of the region's file, to resize it */
        DONOR_CUT, /* unmap what is beyond the new size, and give its memory back */
        _DONOR_STAGE_MAX,
} DonorStage;

typedef enum DonorReportKind {
        DONOR_CREATED, /* the name exists now; of a resize: the region's mappings change from now on */
        DONOR_PROGRESS, /* value: bytes populated */
        /*
         * stage and error. value: for DONOR_FILE with ERANGE the file's size, with EBADF its mode; for DONOR_NODES with EINVAL
         * the node; for DONOR_MEMORY and DONOR_POPULATE the bytes populated so far; for DONOR_MMAP of a resize with EEXIST the
         * bytes from the region's start to the mapping that is in the way
         */
        DONOR_FAILED,
        DONOR_DONE,
} DonorReportKind;

typedef struct DonorReport {
        uint32_t kind, stage;
        int32_t error; /* positive errno */
        uint32_t reserved;
        uint64_t value;
} DonorReport;

typedef struct DonorSpec {
        const char *name;
        uint64_t address, length, size; /* bytes */
        /*
         * To resize a region: what is mapped up to `keep` stays, unless it is beyond `size`; what is mapped from there to
         * `extent` is unmapped. extent is 0 for a creation.
         */
        uint64_t keep, extent; /* bytes */
        Backing backing;
        HugePages hugepages;
        NumaPolicy numa;
        bool populate;
        int fd; /* the file of BACKING_FILE, or of the region that is resized, or -1; borrowed */
        int lock; /* the broker's lock, which the donor keeps until it exits; borrowed */
} DonorSpec;

typedef struct DonorResult {
        bool done; /* the donor has succeeded */
        bool stays; /* it was killed, but has not exited */
        bool created; /* the name was made, or the resize has begun to change mappings */
        DonorStage stage; /* where it failed */
        int error; /* positive errno, 0 if the process was killed */
        uint64_t value;
} DonorResult;

typedef struct Donor Donor;
typedef void (*DonorProgress)(uint64_t bytes, void *userdata);
typedef void (*DonorDone)(const DonorResult *result, void *userdata);

/*
 * Starts the donor. done() is called once, from the event loop or from donor_end(), and may free the donor. From the event
 * loop, it is called when the process has exited. SIGCHLD must be blocked. Returns 0 or negative errno. Does not sleep.
 */
int donor_start(sd_event *event, const DonorSpec *spec, DonorProgress progress, DonorDone done, void *userdata,
                Donor **ret);
/* Kills the process; done() will be called. */
void donor_kill(Donor *donor);
/*
 * Kills the process and waits until it has exited, but not beyond deadline_usec (CLOCK_MONOTONIC): it may be in a system call
 * that does not end, such as one that reads a file of a server that does not answer. done() is called before this returns.
 */
void donor_end(Donor *donor, uint64_t deadline_usec);
/* Kills the process if it still runs, but does not wait for it; done() is not called any more. Takes NULL. */
void donor_free(Donor *donor);
DEFINE_CLEANUP(Donor, donor_free)

/* Descriptors of the donor process, whose main() is in donor-child.h. */
#define DONOR_REPORT_FD 3
/* A pipe that holds a DonorMessage and nothing else. */
#define DONOR_MESSAGE_FD 4
#define DONOR_LOCK_FD 5
#define DONOR_FILE_FD 6

/*
 * What the donor gets. These are not arguments, because every user can read arguments, and addresses of regions are private.
 * The donor is the same program (kernel/program.h), so the message needs no version, only the right size.
 */
typedef struct DonorMessage {
        DonorSpec spec; /* with the donor's descriptors, and without the name */
        char name[REGION_NAME_MAX + 1];
} DonorMessage;
