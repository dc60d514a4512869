/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "arguments.h"

/* A creation, for the duration of the call. */
typedef struct Creation {
        const char *name;
        uint64_t size; /* bytes */
        uint64_t began_usec; /* by CLOCK_REALTIME */
        bool show; /* progress, on standard error */
        bool cancelled; /* the broker was asked to cancel the creation */
        bool shown;
        sd_bus_slot *question; /* for the progress, until it is answered */
        uint64_t first_usec; /* of the first progress, by CLOCK_MONOTONIC; 0: none yet */
        double first; /* the progress at that time, 0 to 1 */
} Creation;

/*
 * Sends the call that creates the region and waits for the answer, with progress on the terminal. Ctrl-C or SIGTERM cancels the
 * creation: then nothing is left of the region, and *ret_signal is the signal. Prints errors; returns an exit status.
 */
int creation_run(Creation *c, sd_bus *bus, sd_bus_message *m, const Arguments *a, const char *what, int *ret_signal,
                 sd_bus_message **reply);
