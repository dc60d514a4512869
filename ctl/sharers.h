/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_SHARERS_H
#define MSHARECTL_SHARERS_H

#include "msharectl.h"

/*
 * Prints the processes that have the region attached, by /proc, as a table or JSON. Processes of other users are only
 * visible to users that may inspect them. Prints errors; returns an exit status.
 */
int sharers_print(const char *region, const Arguments *a);

#endif
