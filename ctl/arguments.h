/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "complain.h"
#include "json.h"

/* The command line, as parsed; strings point into argv. */
typedef struct Arguments {
        JsonMode json;
        bool pager, legend, ask_password, quiet;

        char **names; /* the verb's arguments */
        int n_names;
        char **command; /* the words after "--", NULL-terminated; NULL without "--" */

        const char *mode, *owner, *backing, *lifetime, *linger, *address, *hugepages, *numa, *label, *file;
        const char *maximum;
        const char *fallback, *min_size, *sort, *wait, *output, *delay, *iterations, *host, *machine;
        bool populate, force, batch, addresses, sharers, value, help, version;
        const char **properties; /* the requested properties; none: all */
        size_t n_properties;
} Arguments;
