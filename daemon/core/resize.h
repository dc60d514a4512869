/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/manager.h"
#include "core/request.h"

/*
 * If the broker ended while the size of a region changed, unmaps what may be mapped beyond its size. Does nothing for other
 * regions. Failures are logged.
 */
void resize_finish(Region *region);
/* For the end of the region or the manager: answers the waiting call with an error. Takes NULL. */
void resize_free(Resize *resize);
/*
 * Stops a resize because the broker exits; waits for the donor to exit, until deadline_usec (CLOCK_MONOTONIC). The call is not
 * answered, and the next run unmaps the rest.
 */
void resize_end(Resize *resize, uint64_t deadline_usec);

/*
 * Starts a resize that has been checked and permitted; the call is answered when it is over. 1, or negative errno with *error
 * set and nothing changed.
 */
int resize_start(Region *region, Call *call, const ResizeRequest *request, sd_bus_error *error);
