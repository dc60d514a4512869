/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * An earlier broker, which has neither the option "final-mode" nor SuspendRegion, to test newer programs with it. The linker
 * calls these functions instead of the broker's own (--wrap).
 */

#include "bus/options.h"
#include "core/suspension.h"

int __real_options_read_create(sd_bus_message *m, CreateRequest *request, sd_bus_error *error);
int __wrap_options_read_create(sd_bus_message *m, CreateRequest *request, sd_bus_error *error);
int __wrap_region_suspend(Region *region, Call *call, uint32_t final_mode, sd_bus_error *error);

int __wrap_options_read_create(sd_bus_message *m, CreateRequest *request, sd_bus_error *error) {
        int r;

        r = __real_options_read_create(m, request, error);
        if (r < 0 || !request->final_mode_set)
                return r;
        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                "Unknown option 'final-mode': expected one of address, uid, gid");
}

int __wrap_region_suspend(Region *region, Call *call, uint32_t final_mode, sd_bus_error *error) {
        return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_METHOD,
                                "Unknown method SuspendRegion or interface org.mshare1.Manager.");
}
