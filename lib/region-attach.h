/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handle.h"

/*
 * Attaches the window at its address: with mmap() of the region's descriptor, or with mshare() by name if there is no
 * descriptor or the kernel does not map it. 0, or negative errno and a message. May sleep.
 */
int region_attach(mshare_region *region, char **ret_message);
