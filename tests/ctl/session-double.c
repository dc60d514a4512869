/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded: the login session belongs to the user with number $SESSION_UID; without the variable there is no session.
 */
#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-login.h>

__attribute__((visibility("default"))) int sd_pid_get_owner_uid(pid_t pid, uid_t *uid) {
        const char *number = getenv("SESSION_UID");

        if (!number)
                return -ENODATA;
        *uid = (uid_t) strtoul(number, NULL, 10);
        return 0;
}
