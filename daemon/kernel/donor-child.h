/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/donor.h"

/*
 * What the files of the donor process share. Each function that fails has sent a report that says so, and returns negative
 * errno. All of them may sleep for as long as the kernel needs.
 */

void donor_report(DonorReportKind kind, DonorStage stage, int error, uint64_t value);
/* Reports the failure and returns -error. */
int donor_failed(DonorStage stage, int error, uint64_t value);

/* donor-map.c: maps new memory at [from, to) of the region, which are bytes from its start, and populates it if spec says so. */
int donor_map(const KernelOps *ops, const DonorSpec *spec, uint64_t from, uint64_t to);
/* donor-resize.c: attaches the region whose file is at fd, and makes the change that spec describes. */
int donor_resize(const KernelOps *ops, const DonorSpec *spec, int fd);
