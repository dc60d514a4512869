/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#define REGION_NAME_MAX 255

/* What a name for a new region must be, as a half sentence for error messages. */
#define REGION_NAME_RULE                                                                                               \
        "a name is 1 to 255 of the characters a-z A-Z 0-9 . _ : @ - and does not start with a dot or a dash"

/*
 * Names that we make are a subset of what the kernel takes: they also have to be unit instances (which, for being in
 * the name of a unit, may have 233 characters at most), no options of a command, file names beside our temporary files,
 * and readable in a terminal. Regions that are there already keep the name they have.
 */
bool region_name_is_valid(const char *name);

/* Whether a name found in msharefs can be spoken of on the bus at all: UTF-8 without control characters, no ".#" in front. */
bool region_name_is_adoptable(const char *name);

/* UTF-8 without control characters, so that a terminal shows it and obeys nothing in it. */
bool text_is_printable(const char *text);
