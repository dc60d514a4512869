/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"
#include "core/request.h"

/* A step of authz_run(). Changes the size of the region, and answers the call when that is done. */
int region_resize(Region *region, Call *call, const ResizeRequest *request, sd_bus_error *error);
