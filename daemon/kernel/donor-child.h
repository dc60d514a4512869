/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/donor.h"

/*
 * The main() of the donor process, "mshared --donor NAME"; argv begins with the name. Returns an exit status, after it has
 * reported failures to the broker.
 */
int donor_main(const KernelOps *ops, int argc, char **argv);
