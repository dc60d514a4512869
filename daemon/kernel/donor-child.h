/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/donor.h"

/* The main() of the donor process, "mshared --donor". Returns an exit status, and has reported failures. */
int donor_main(const KernelOps *ops, int argc, char **argv);
