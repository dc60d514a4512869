/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "arguments.h"

/*
 * Prints the processes that have the region attached, as /proc shows them, as a table or JSON. Only users that may inspect a
 * process see it. Prints errors; returns an exit status.
 */
int sharers_print(const char *region, const Arguments *a);
