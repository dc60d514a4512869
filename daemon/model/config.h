/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/limits.h"

#define CONFIG_FILE_MAX (64 * 1024)

/*
 * Called for each "Key=Value" of an INI file. Returns 0; -ENOENT if the key is unknown; or another negative errno if the value
 * is invalid, with *reason set to a static text that says what is valid.
 */
typedef int (*ConfigAssign)(const char *section, const char *key, const char *value, void *assigned,
                            const char **reason);
/* Called for each line that is ignored, with the reason. */
typedef void (*ConfigComplain)(const char *file, unsigned line, const char *message, void *userdata);

/*
 * Splits text (which is changed) into sections, keys and values. Comments start with # or ;. A backslash at the end of a line
 * continues it. Invalid lines are reported and skipped. Returns the number of reports.
 */
unsigned config_parse(const char *file, char *text, ConfigAssign assign, void *assigned, ConfigComplain complain,
                      void *userdata);

typedef struct Config {
        Limits limits;
        int log_level;
} Config;

void config_set_defaults(Config *config);

/*
 * Reads mshared.conf and mshared.conf.d/ *.conf from dirs, a NULL-terminated list in falling priority. Only the first
 * mshared.conf is used, and of drop-ins with the same name only the one in the first directory. Drop-ins are read after the
 * file, in the order of their names. Missing files are not an error. An invalid setting is reported and changes nothing.
 * Returns the number of reports, or -ENOMEM.
 */
int config_load(Config *config, const char *const *dirs, ConfigComplain complain, void *userdata);
