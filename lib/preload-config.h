/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Half of PostgreSQL's smallest usual mapping (143 MiB with shared_buffers at its default of 128 MiB), and far above the other
 * shared anonymous mappings of such servers: statistics, scoreboards, small rings.
 */
#define PRELOAD_MIN_SIZE_DEFAULT ((size_t) 64 << 20)

typedef struct PreloadConfig {
        const char *region; /* points into the environment */
        size_t min_size; /* bytes */
        bool fallback;
        char problem[160]; /* an invalid setting, as half a sentence; empty if all are valid */
} PreloadConfig;

/*
 * Reads MSHARE_REGION, MSHARE_MIN_SIZE and MSHARE_FALLBACK. Returns false if no region is named: then the library places
 * nothing. An invalid setting is replaced by its default and described in `problem`.
 */
bool preload_config_read(PreloadConfig *ret);
