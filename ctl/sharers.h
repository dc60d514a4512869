/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_SHARERS_H
#define MSHARECTL_SHARERS_H

#include "msharectl.h"

/*
 * The processes that have the region attached, from the kernel's side, as a table or JSON. Those of others are seen
 * only by who may look at them. Prints what goes wrong; returns an exit status.
 */
int sharers_print(const char *region, const Arguments *a);

#endif
