/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#define INI_FILE_MAX (64 * 1024)

/*
 * Called for each "Key=Value" of an INI file. Returns 0; -ENOENT if the key is unknown; or another negative errno if the value
 * is invalid, with *reason set to a static text that says what is valid.
 */
typedef int (*IniAssign)(const char *section, const char *key, const char *value, void *assigned, const char **reason);
/* Called for each line that is ignored, with the reason. */
typedef void (*IniComplain)(const char *file, unsigned line, const char *message, void *userdata);

/*
 * Splits text (which is changed) into sections, keys and values. Comments start with # or ;. A backslash at the end of a line
 * continues it. Invalid lines are reported and skipped. Returns the number of reports.
 */
unsigned ini_parse(const char *file, char *text, IniAssign assign, void *assigned, IniComplain complain,
                   void *userdata);
