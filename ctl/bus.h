/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_BUS_H
#define MSHARECTL_BUS_H

#include <systemd/sd-bus.h>

#include "msharectl.h"
#include "names.h"

/* These print what goes wrong, begun with "what", and return an exit status. */

/* To the system bus, here or where --host= or --machine= say. */
int bus_connect(const struct arguments *a, sd_bus **ret);

/* A call of the manager's, to be filled and given to bus_call(). */
int bus_new_call(sd_bus *bus, const char *method, sd_bus_message **ret);

/*
 * Send it and wait for the answer; reply may be NULL. An action may need an administrator's password: then a
 * question may be asked, and the wait ends only with the user's patience, or when the broker hangs.
 */
int bus_call(sd_bus *bus, sd_bus_message *m, bool action, const struct arguments *a, const char *what, sd_bus_message **reply);

/* The region's object, by the broker's word. */
int bus_region_path(sd_bus *bus, const char *name, const struct arguments *a, const char *what, char **ret);

/* A call that failed with this error or, where it has none, errno. */
int bus_call_failed(const char *what, const sd_bus_error *error, int r);
int bus_out_of_memory(void);
/* A message that could not be built or read. */
int bus_message_failed(const char *what, int r);

#endif
