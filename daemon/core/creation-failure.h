/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "kernel/donor.h"
#include "model/record.h"

/* Sets *error from the result of a donor that has failed. address_chosen: by the broker, not by the caller. */
void creation_failure(const RegionRecord *record, bool address_chosen, const DonorResult *result, sd_bus_error *error);
