/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* Connects to the system bus and exports all objects, but does not take the bus name. 0 or negative errno, logged. Blocks. */
int manager_connect(Manager *manager);
