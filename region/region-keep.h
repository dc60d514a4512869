/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "region-client.h"

/*
 * Notifies systemd that the start is complete, and returns when the region is gone, for whatever reason. If the unit is stopped
 * first, removes the region and sets *ret_removed. The bus and the broker may come and go meanwhile. 0, or negative errno with
 * *error set if the broker has answered with an error.
 */
int start_keep(Start *s, const char *name, bool *ret_removed, sd_bus_error *error);
