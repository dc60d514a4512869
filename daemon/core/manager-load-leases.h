/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* Restores each lease of the last run. 0 or negative errno; what is wrong with a single lease is logged. */
int manager_load_leases(Manager *manager);
