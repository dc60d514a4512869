/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/donor.h"

/*
 * Maps new memory at [from, to) of the region, in bytes from its start, and populates it if spec says so. 0, or negative errno
 * with the failure reported. May sleep for as long as the kernel needs.
 */
int donor_map(const KernelOps *ops, const DonorSpec *spec, uint64_t from, uint64_t to);
