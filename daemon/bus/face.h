/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* What the objects on the bus share. */

/* Which step of authz_run() each member of an interface has; ends with an empty one. */
typedef struct FaceStep {
        const char *member;
        CallStep step;
} FaceStep;

/* The step of the message's member. */
CallStep face_find_step(const FaceStep *steps, sd_bus_message *m);

/* Whether the sender of the message that is being dispatched may see the region's address. */
bool face_may_see_address(Manager *manager, sd_bus_message *message, const Region *region);
