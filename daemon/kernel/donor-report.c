/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The reports that the donor process writes into the broker's pipe. It knows only the form of a report; donor.c reads them. */

#include <errno.h>

#include "kernel/donor-report.h"

void donor_report(DonorReportKind kind, DonorStage stage, int error, uint64_t value) {
        DonorReport r = { .kind = kind, .stage = stage, .error = error, .value = value };

        while (write(DONOR_REPORT_FD, &r, sizeof(r)) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE); /* the broker has exited and cannot finish or undo this work */
}

int donor_failed(DonorStage stage, int error, uint64_t value) {
        donor_report(DONOR_FAILED, stage, error, value);
        return -error;
}
