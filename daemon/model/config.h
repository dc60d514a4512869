/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/limits.h"

#define CONFIG_FILE_MAX (64 * 1024)

/*
 * Called for each "Key=Value" of an INI file. Returns 0, or negative errno if the value is not right, having set
 * *reason to a sentence (static) that says what would be right. -ENOENT means that the key is unknown.
 */
typedef int (*ConfigAssign)(const char *section, const char *key, const char *value, void *assigned,
                            const char **reason);
/* Called for each line that is not taken, with the reason. */
typedef void (*ConfigComplain)(const char *file, unsigned line, const char *message, void *userdata);

/*
 * Splits text (which is changed) into sections, keys and values. Comments start with # or ;. A line ending in a
 * backslash goes on in the next. Wrong lines are complained about and skipped. Returns the number of them.
 */
unsigned config_parse(const char *file, char *text, ConfigAssign assign, void *assigned, ConfigComplain complain,
                      void *userdata);

typedef struct Config {
        Limits limits;
        int log_level;
} Config;

void config_set_defaults(Config *config);

/*
 * Reads mshared.conf and mshared.conf.d/ *.conf from dirs, a NULL-terminated list in falling priority: the first
 * mshared.conf found counts, and of drop-ins with the same name the one in the first directory; drop-ins are taken in
 * the order of their names, after the file. Missing files are no error. What is wrong in a file is complained about
 * and leaves the setting as it was. Returns the number of complaints, or -ENOMEM.
 */
int config_load(Config *config, const char *const *dirs, ConfigComplain complain, void *userdata);
