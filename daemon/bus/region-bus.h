/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* Exports an object for each region, also for those that are created later. 0 or negative errno. Does not block. */
int region_add_objects(Manager *manager);
