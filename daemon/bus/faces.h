/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* The objects on the bus: manager-bus.c, region-bus.c and log-control.c. */

/* Connects to the system bus and exports all objects, without the bus name. 0 or negative errno, logged. Blocks. */
int manager_connect(Manager *manager);
int region_add_objects(Manager *manager);
int log_control_add_object(Manager *manager);
/* Whether the sender of the message that is being dispatched may see the region's address. */
bool manager_may_see_address(Manager *manager, sd_bus_message *message, const Region *region);

/* Which step of authz_run() each member of an interface has; ends with an empty one. */
typedef struct FaceStep {
        const char *member;
        CallStep step;
} FaceStep;

/* The step of the message's member. */
CallStep face_find_step(const FaceStep *steps, sd_bus_message *m);
