/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus/face-types.h"
#include "core/manager.h"

/* The methods of org.mshare1.Manager. */
extern const FaceMethod manager_methods[];

/* Exports /org/mshare1, and an object manager for all objects below it. 0 or negative errno. Does not block. */
int manager_add_object(Manager *manager);
