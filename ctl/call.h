/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_CALL_H
#define MSHARECTL_CALL_H

#include <systemd/sd-bus.h>

/* What to do while a call lasts; NULL: nothing. */
typedef struct CallWatch {
        /*
         * Ctrl-C or SIGTERM: 0 to go on waiting for the answer, which is expected to be an error soon, or -ECANCELED
         * to wait no longer. A second signal ends the wait without asking. May make calls on the bus.
         */
        int (*interrupt)(sd_bus *bus, void *userdata);
        void *userdata;
} CallWatch;

/*
 * Sends m and waits for the answer as long as it takes, unless the broker hangs: it is pinged now and then, and has the usual
 * time limit of a call to answer. So polkit's questions and populating may take as long as they need.
 *
 * 0, or negative errno with the error set where the bus has one. *ret_signal, if watch is not NULL, is the signal that
 * interrupted the call, or 0; then the answer may be an error, -ECANCELED or success, and the caller decides.
 */
int call_and_wait(sd_bus *bus, sd_bus_message *m, const CallWatch *watch, int *ret_signal, sd_bus_error *error,
                  sd_bus_message **reply);

#endif
