/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"
#include "core/request.h"

/*
 * A step of authz_run(). Checks the request, asks polkit, creates the region, and answers the call later. May take name and
 * label out of *request. 1, 0 while polkit is asked, or negative errno with *error set.
 */
int manager_create_region(Manager *manager, Call *call, CreateRequest *request, sd_bus_error *error);
/* Fails if the kernel has no mshare or msharefs is not mounted. 0, or negative errno with *error set. */
int manager_check_kernel(Manager *manager, sd_bus_error *error);
