/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/donor.h"

/*
 * Attaches the region whose file spec has open, and makes the change that spec describes. 0, or negative errno with the
 * failure reported. May sleep for as long as the kernel needs.
 */
int donor_resize(const KernelOps *ops, const DonorSpec *spec);
