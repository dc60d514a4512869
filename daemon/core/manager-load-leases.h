/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* Restores the leases of the last run. 0 or negative errno; a problem with a single lease is only logged. */
int manager_load_leases(Manager *manager);
