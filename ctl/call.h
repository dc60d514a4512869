/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

/* What to do during a call; NULL: nothing. */
typedef struct CallWatch {
        /*
         * Called for Ctrl-C and SIGTERM. Returns 0 to continue to wait for the answer, which should soon be an error, or
         * -ECANCELED to stop waiting. A second signal always ends the wait. May make calls on the bus.
         */
        int (*interrupt)(sd_bus *bus, void *userdata);
        void *userdata;
} CallWatch;

/*
 * Sends m and waits for the answer without a time limit, because polkit's questions and populating may take long. Meanwhile the
 * broker is pinged. If it does not answer a ping within the usual time limit of a call, it hangs, and the wait ends.
 *
 * 0, or negative errno, with *error set if the bus returned one. *ret_signal, if watch is not NULL, is the signal that
 * interrupted the call, or 0. If there was one, the answer may be an error, -ECANCELED or success, and the caller decides.
 * reply may be NULL.
 */
int call_and_wait(sd_bus *bus, sd_bus_message *m, const CallWatch *watch, int *ret_signal, sd_bus_error *error,
                  sd_bus_message **reply);
