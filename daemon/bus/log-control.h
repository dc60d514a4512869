/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"

/* Exports /org/freedesktop/LogControl1. 0 or negative errno. Does not block. */
int log_control_add_object(Manager *manager);
