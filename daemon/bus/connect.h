/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus/face.h"

/*
 * Connects to the system bus and exports all objects, but does not take the bus name. *ret, which may be set even on failure,
 * must be freed after the manager. 0 or negative errno, logged. Blocks.
 */
int manager_connect(Manager *manager, Face **ret);
