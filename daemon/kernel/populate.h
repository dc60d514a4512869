/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/kernel-ops.h"
#include "kinds.h"

/* Memory of a region, where this process has it mapped. */
typedef struct PopulateSpec {
        char *start;
        uint64_t length; /* bytes */
        Backing backing;
        const NumaPolicy *numa;
        bool writable;
} PopulateSpec;

typedef enum PopulateEnd {
        POPULATE_DONE,
        POPULATE_UNAVAILABLE, /* the machine does not have that much memory */
        POPULATE_REFUSED, /* by the kernel */
} PopulateEnd;

typedef struct PopulateResult {
        PopulateEnd end;
        int error; /* positive errno */
        uint64_t done; /* bytes populated */
} PopulateResult;

typedef void (*PopulateProgress)(uint64_t done, void *userdata);

/*
 * Touches all pages, which are charged to the control group of this process. Calls progress() from time to time, with the bytes
 * populated so far. Sleeps for as long as the kernel needs; the process can be killed meanwhile.
 */
PopulateResult populate(const KernelOps *ops, const PopulateSpec *spec, PopulateProgress progress, void *userdata);

/*
 * When memory is short, the kernel should kill the broker last, and its children inherit that setting. But if a process
 * populates a region that is too large for the machine, that process must be killed first: that frees the region, while any
 * other process frees little. So this process asks to be killed first.
 */
void be_expendable(void);
