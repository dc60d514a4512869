/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus/face-types.h"
#include "core/manager.h"

/* What the objects on the bus share. */

/* Creates what bus/ keeps, and sets manager->face to it. 0 or -ENOMEM. */
int face_new(Manager *manager, Face **ret);
/* Call this after manager_free(): regions that are freed may still answer calls. Takes NULL. */
void face_free(Face *face);
DEFINE_CLEANUP(Face, face_free)

/* Passes the call to the method of its member, and counts it if the answer is an error. Returns what a handler must return. */
int face_call(Manager *manager, const FaceMethod *methods, sd_bus_message *m, void *userdata, sd_bus_error *error);

/* Whether the sender of the message that is being dispatched may see the address of the region. */
bool face_may_see_address(Manager *manager, sd_bus_message *message, const Region *region);
