/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_UNIT_H
#define MSHARECTL_UNIT_H

#include "msharectl.h"

/*
 * The process of a unit of the system's service manager: its main process or, where it has none, the first one in its
 * control group but ourselves. A name without a suffix is a service's. Prints what goes wrong; returns an exit status.
 */
int unit_find_process(sd_bus *bus, const char *name, pid_t *ret);

#endif
