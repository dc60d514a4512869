/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads the settings of the preload library from the environment. It prints nothing: preload-state.c reports what is
 * wrong with them.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "macro.h"
#include "preload-config.h"
#include "quantity.h"

static bool parse_min_size(const char *s, size_t *ret) {
        uint64_t n;

        if (parse_amount(s, &n) < 0 || n > SIZE_MAX)
                return false;
        *ret = (size_t) n;
        return true;
}

bool preload_config_read(PreloadConfig *ret) {
        /* Programs that gained privileges must not trust their environment. */
        const char *region = secure_getenv("MSHARE_REGION");
        const char *min_size = secure_getenv("MSHARE_MIN_SIZE");
        const char *fallback = secure_getenv("MSHARE_FALLBACK");

        if (!region || region[0] == '\0')
                return false;

        *ret = (PreloadConfig){
                .region = region,
                .min_size = PRELOAD_MIN_SIZE_DEFAULT,
        };

        if (min_size && min_size[0] != '\0' && !parse_min_size(min_size, &ret->min_size))
                (void) snprintf(ret->problem, sizeof(ret->problem),
                                "Invalid MSHARE_MIN_SIZE '%.40s': expected " AMOUNT_FORM, min_size);

        if (fallback && streq(fallback, "yes"))
                ret->fallback = true;
        else if (fallback && fallback[0] != '\0' && !streq(fallback, "no"))
                (void) snprintf(ret->problem, sizeof(ret->problem),
                                "Invalid MSHARE_FALLBACK '%.40s': expected yes or no", fallback);

        return true;
}
