/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads the mode of a region from text. It knows neither files nor masks. */

#include <errno.h>
#include <stdbool.h>

#include "mode.h"

int parse_mode(const char *s, mode_t *ret) {
        bool too_large = false;
        mode_t mode = 0;

        if (*s == 0)
                return -EINVAL;
        for (; *s; s++) {
                if (*s < '0' || *s > '7')
                        return -EINVAL;
                too_large = too_large || mode > 0777 >> 3;
                mode = (mode << 3 | (mode_t) (*s - '0')) & 0777;
        }
        if (too_large)
                return -ERANGE;
        *ret = mode;
        return 0;
}
