/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus/face-types.h"
#include "core/manager.h"

/* The methods of org.mshare1.Region. */
extern const FaceMethod region_methods[];

/*
 * Steps of authz_run() for the methods that both interfaces have. userdata is the region, and the message is read from the
 * argument after the region's name, or from the first one if the call has no name.
 */
int region_step_acquire(Call *call, void *region, sd_bus_error *error);
int region_step_open(Call *call, void *region, sd_bus_error *error);
int region_step_remove(Call *call, void *region, sd_bus_error *error);
int region_step_resize(Call *call, void *region, sd_bus_error *error);
int region_step_set_mode(Call *call, void *region, sd_bus_error *error);
int region_step_set_owner(Call *call, void *region, sd_bus_error *error);

/* Exports an object for each region, also for those that are created later. 0 or negative errno. Does not block. */
int region_add_objects(Manager *manager);
