/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <string.h>

#include "macro.h"

#define _public_ __attribute__((visibility("default")))

/* The path without its folders; points into it. */
static inline const char *path_base(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

/* errno, or EIO if the function that failed has not set it: an error must not become 0. */
static inline int xerrno(void) {
        return errno > 0 ? errno : EIO;
}
