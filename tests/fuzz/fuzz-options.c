/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of methods: a refusal has a reason, and what is accepted is valid. */
#include <assert.h>

#include "bus/options.h"
#include "fuzz.h"
#include "options-message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(create_request_done) CreateRequest request = CREATE_REQUEST_INIT;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        static sd_bus *bus;
        bool force;
        int r;

        if (!bus)
                bus = message_bus_new();
        m = message_from_bytes(bus, data, size);
        r = options_read_create(m, &request, &error);
        /* A refusal has a reason. */
        assert(r >= 0 || error.name);
        if (r >= 0) {
                assert(!request.label || strlen(request.label) <= LABEL_MAX);
                r = create_request_check(&request, &error);
                assert(r >= 0 || error.name);
                assert(r < 0 || request.backing != BACKING_FILE || request.fd >= 0);
        }
        sd_bus_error_free(&error);
        r = sd_bus_message_rewind(m, true);
        assert(r >= 0);
        r = options_read_remove(m, &force, &error);
        assert(r >= 0 || error.name);
        return 0;
}
