/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* Restores regions and leases from state files and msharefs. 0 or negative errno, logged. */
int manager_load(Manager *manager);
