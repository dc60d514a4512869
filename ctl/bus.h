/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "arguments.h"
#include "names.h"

/* These print errors, which start with `what`, and return an exit status. */

/* Connects to the system bus of this machine, or of the machine that --host= or --machine= names. Blocks. */
int bus_connect(const Arguments *a, sd_bus **ret);

/* A new call to the manager object, for the caller to fill and pass to bus_call(). */
int bus_new_call(sd_bus *bus, const char *method, sd_bus_message **ret);

/*
 * Sends the message and waits for the answer; reply may be NULL. If the call is an action, polkit may ask for a password, and
 * there is no time limit unless the broker hangs.
 */
int bus_call(sd_bus *bus, sd_bus_message *m, bool action, const Arguments *a, const char *what, sd_bus_message **reply);

/* Asks the broker for the path of the region's object, to be freed. */
int bus_region_path(sd_bus *bus, const char *name, const Arguments *a, const char *what, char **ret);

/* For a call that failed with this error or, without one, this errno. */
int bus_call_failed(const char *what, const sd_bus_error *error, int r);
int bus_out_of_memory(void);
/* For a message that could not be built or read. */
int bus_message_failed(const char *what, int r);
