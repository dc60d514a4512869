/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Checks the rights and limits for a change of a region's size, which resize.c then makes. It knows no messages. */

#include <errno.h>
#include <inttypes.h>

#include "core/answer.h"
#include "core/region-ops.h"
#include "core/region-resize.h"
#include "core/region-rights.h"
#include "core/resize.h"
#include "errors.h"
#include "policy/actions.h"

static int check_window(const RegionRecord *rec, uint64_t size, sd_bus_error *error) {
        if (size <= rec->length)
                return 0;
        return sd_bus_error_setf(error, ERROR_INVALID_SIZE,
                                 "%" PRIu64 " bytes do not fit in the window of region '%s', which has %" PRIu64
                                 " bytes; a region keeps its window, so create a new region with the option 'maximum'",
                                 size, rec->name, rec->length);
}

static int check_backing(const RegionRecord *rec, uint64_t size, sd_bus_error *error) {
        switch (rec->backing) {
        case BACKING_ANONYMOUS:
        case BACKING_MEMFD:
                return 0;
        case BACKING_FILE:
                if (size <= rec->size)
                        return 0;
                return sd_bus_error_setf(error, SD_BUS_ERROR_NOT_SUPPORTED,
                                         "Region '%s' cannot grow from %" PRIu64 " to %" PRIu64
                                         " bytes: it has backing 'file', and a region with a file can only shrink",
                                         rec->name, rec->size, size);
        default:
                return sd_bus_error_setf(error, SD_BUS_ERROR_NOT_SUPPORTED,
                                         "Region '%s' has backing '%s', which cannot be resized: expected 'anonymous', "
                                         "'memfd' or 'file'",
                                         rec->name, backing_to_string(rec->backing));
        }
}

/* What is added is charged to the region's creator. */
static int check_limit(Region *region, const Identity *who, uint64_t size, sd_bus_error *error) {
        Manager *m = region->manager;
        uint64_t max = m->config.limits.max[LIMIT_USER_BYTES];
        uint64_t bytes = users_count(&m->users, region->payer, LIMIT_USER_BYTES), more;

        if (who->uid == 0 || region->payer == 0 || size <= region->bytes_charged)
                return 0;
        more = size - region->bytes_charged;
        if (bytes <= max && more <= max - bytes)
                return 0;
        return sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                 "Limit reached, %s: %" PRIu64 ", in use by user %" PRIu32 ": %" PRIu64
                                 ", requested for region '%s': %" PRIu64 "; see %s= in mshared.conf",
                                 limit_meaning(LIMIT_USER_BYTES), max, (uint32_t) region->payer, bytes,
                                 region->record.name, more, limit_name(LIMIT_USER_BYTES));
}

int region_resize(Region *region, Call *call, const ResizeRequest *request, sd_bus_error *error) {
        const RegionRecord *rec = &region->record;
        const Identity *who = call_identity(call);
        bool less = request->size < rec->size;
        int r;

        if (request->size == 0)
                return sd_bus_error_setf(error, ERROR_INVALID_SIZE,
                                         "Invalid size of 0 bytes: expected at least 1; to remove the region, use "
                                         "RemoveRegion");
        /* Only callers that may attach can know the length of the window. */
        if (who->uid == 0 || region_shows_address(region, who)) {
                r = check_window(rec, request->size, error);
                if (r < 0)
                        return r;
        }
        r = check_backing(rec, request->size, error);
        if (r < 0)
                return r;
        /* The owner may remove the region, and therefore may make it smaller. */
        if (who->uid != rec->uid || request->size > rec->size) {
                RegionDetails details = region_details(rec);

                details.size = request->size;
                r = authorize_region(call, ACTION_RESIZE_REGION, &details, error);
                if (r <= 0)
                        return r;
        }
        r = check_window(rec, request->size, error);
        if (r >= 0)
                r = region_check_ready(region, error);
        if (r < 0)
                return r;
        if (region->resize)
                return sd_bus_error_setf(error, ERROR_REGION_BUSY, "Region '%s' is already being resized", rec->name);
        if (less && !request->force) {
                r = region_check_unused(
                        region, "shrink it nevertheless: they get SIGBUS if they use the part that is removed", error);
                if (r < 0)
                        return r;
        }
        r = check_limit(region, who, request->size, error);
        if (r < 0)
                return r;
        if (request->size == rec->size && rec->extent == 0)
                return call_answer(call);
        return resize_start(region, call, request, error);
}
