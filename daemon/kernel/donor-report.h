/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/donor.h"

/*
 * How the files of the donor process report to the broker. A function there that fails has sent a report, and returns negative
 * errno.
 */

/* Sends a report. Sleeps while the pipe is full, and exits if the broker has exited. */
void donor_report(DonorReportKind kind, DonorStage stage, int error, uint64_t value);
/* Reports the failure and returns -error. */
int donor_failed(DonorStage stage, int error, uint64_t value);
