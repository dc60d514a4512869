/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Looks up users and groups, with a buffer of the right size. It prints nothing. */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "nss.h"
#include "util.h"

/* A group with thousands of members needs a large buffer. The limit prevents an endless loop with a broken service. */
#define BUFFER_MIN 4096
#define BUFFER_MAX (64U << 20)

/* Whether to try again with a larger buffer. */
static bool grow(int r, size_t *size) {
        if (r != ERANGE || *size >= BUFFER_MAX)
                return false;
        *size *= 2;
        return true;
}

/* Services differ in the error for a name that does not exist: getpwnam(3) lists these. */
static int result(int r, bool found) {
        if (r == 0 || r == ENOENT || r == ESRCH || r == EBADF || r == EPERM)
                return found ? 0 : -ESRCH;
        return r == ERANGE ? -ENOBUFS : -r;
}

int nss_user(const char *name, uint32_t uid, struct passwd *ret, char **ret_buf) {
        size_t size = BUFFER_MIN;
        int r;

        for (;;) {
                _cleanup_(freep) char *buf = malloc(size);
                struct passwd *found = NULL;

                if (!buf)
                        return -ENOMEM;
                r = name ? getpwnam_r(name, ret, buf, size, &found) : getpwuid_r(uid, ret, buf, size, &found);
                if (grow(r, &size))
                        continue;
                r = result(r, found);
                if (r >= 0)
                        *ret_buf = TAKE_PTR(buf);
                return r;
        }
}

int nss_group(const char *name, uint32_t gid, struct group *ret, char **ret_buf) {
        size_t size = BUFFER_MIN;
        int r;

        for (;;) {
                _cleanup_(freep) char *buf = malloc(size);
                struct group *found = NULL;

                if (!buf)
                        return -ENOMEM;
                r = name ? getgrnam_r(name, ret, buf, size, &found) : getgrgid_r(gid, ret, buf, size, &found);
                if (grow(r, &size))
                        continue;
                r = result(r, found);
                if (r >= 0)
                        *ret_buf = TAKE_PTR(buf);
                return r;
        }
}
