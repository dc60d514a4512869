/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "basic/ini.h"
#include "model/limits.h"

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
int config_load(Config *config, const char *const *dirs, IniComplain complain, void *userdata);
