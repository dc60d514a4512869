/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/request.h"

/*
 * These read the options map at the message's position. Unknown, repeated and ill-typed keys, and values outside their range,
 * fail with an error that names them; *request may then have some of the values. 0 or negative errno with *error set.
 */
int options_read_create(sd_bus_message *m, CreateRequest *request, sd_bus_error *error);
int options_read_remove(sd_bus_message *m, bool *ret_force, sd_bus_error *error);
int options_read_resize(sd_bus_message *m, ResizeRequest *request, sd_bus_error *error);
int options_read_none(sd_bus_message *m, sd_bus_error *error);
