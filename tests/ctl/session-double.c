/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded: environment variables say which login session and user the process has. Without these variables there is no
 * session.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-login.h>
#include <unistd.h>

/* The user that the process, or the user's service manager, belongs to. */
__attribute__((visibility("default"))) int sd_pid_get_owner_uid(pid_t pid, uid_t *uid) {
        const char *number = getenv("SESSION_UID");

        if (!number)
                return -ENODATA;
        *uid = (uid_t) strtoul(number, NULL, 10);
        return 0;
}

__attribute__((visibility("default"))) int sd_pid_get_session(pid_t pid, char **session) {
        const char *name = getenv("SESSION_OF_PROCESS");

        *session = name ? strdup(name) : NULL;
        return *session ? 0 : -ENODATA;
}

__attribute__((visibility("default"))) int sd_uid_get_display(uid_t uid, char **session) {
        const char *name = getenv("SESSION_OF_USER");

        *session = name ? strdup(name) : NULL;
        return *session ? 0 : -ENODATA;
}

/* An agent is not started for root. */
__attribute__((visibility("default"))) uid_t geteuid(void) {
        return getenv("SESSION_EUID") ? (uid_t) strtoul(getenv("SESSION_EUID"), NULL, 10) : getuid();
}
