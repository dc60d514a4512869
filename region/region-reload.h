/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Gives the region the mode, owner and size that its file has now, and prints on standard error what else has changed in the
 * file. Waits for the broker. Prints errors to standard error and returns an exit status.
 */
int region_reload(const char *name);
