/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The commands. Each waits for the broker, prints errors to standard error and returns an exit status. SIGTERM and SIGINT end a
 * start, which then removes what it was creating.
 */
int region_start(const char *name);
/* As region_start(), and then waits until the region is removed. SIGTERM and SIGINT remove it. */
int region_run(const char *name);
/* Removes the region, even if processes are attached. */
int region_stop(const char *name);
