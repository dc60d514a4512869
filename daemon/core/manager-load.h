/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/*
 * Restores regions and leases from state files and msharefs. Without msharefs, restores nothing and keeps the state files. 0 or
 * negative errno, logged. Blocks.
 */
int manager_load(Manager *manager);
