/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/donor.h"

/*
 * Declarations that the files of the donor process share. There, a function that fails sends a report and returns negative
 * errno. Each of them may sleep for as long as the kernel needs.
 */

void donor_report(DonorReportKind kind, DonorStage stage, int error, uint64_t value);
/* Reports the failure and returns -error. */
int donor_failed(DonorStage stage, int error, uint64_t value);
