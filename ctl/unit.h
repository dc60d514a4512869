/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "arguments.h"

/*
 * Finds the process of a unit of the system's service manager: its main process or, if it has none, the first one in its
 * control group that is not this process. A name without a suffix is that of a service. Prints errors; returns an exit status.
 */
int unit_find_process(sd_bus *bus, const char *name, pid_t *ret);
