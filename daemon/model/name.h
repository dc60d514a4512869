/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#define REGION_NAME_MAX 255

/* What a name for a new region must be, for messages that refuse one. */
#define REGION_NAME_RULE "expected 1 to 255 of the characters a-z A-Z 0-9 . _ : @ -, and no dot or dash at the start"

/*
 * Names of new regions are a subset of those that the kernel accepts. They must also be valid as instances of units (there with
 * at most 233 characters), must not look like an option or a temporary file of the broker, and must be readable in a terminal.
 * Regions that exist already keep their names.
 */
bool region_name_is_valid(const char *name);

/* Whether a name found in msharefs can be used on the bus at all: UTF-8 without control characters, not starting with ".#". */
bool region_name_is_adoptable(const char *name);

/* UTF-8 without control characters, so that a terminal shows the text and does not interpret it. */
bool text_is_printable(const char *text);
