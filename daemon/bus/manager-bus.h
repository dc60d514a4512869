/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* Exports /org/mshare1, and an object manager for all objects below it. 0 or negative errno. Does not block. */
int manager_add_object(Manager *manager);
