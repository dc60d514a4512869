/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"
#include "core/request.h"

/*
 * Creates the region, after manager_check_request() and polkit, and answers the call later. Takes name and label out of
 * *request. 1, or negative errno with *error set.
 */
int manager_create_region(Manager *manager, Call *call, CreateRequest *request, sd_bus_error *error);
/* Checks everything that can be checked before polkit is asked. 0, or negative errno with *error set. */
int manager_check_request(Manager *manager, const CreateRequest *request, sd_bus_error *error);
/* Fails if the kernel has no mshare or msharefs is not mounted. 0, or negative errno with *error set. */
int manager_check_kernel(Manager *manager, sd_bus_error *error);
