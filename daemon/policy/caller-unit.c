/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finds the unit of a caller's process. It knows neither the bus nor calls. */

#include <fcntl.h>
#include <inttypes.h>
#include <systemd/sd-login.h>

#include "basic/util.h"
#include "policy/caller-unit.h"

static bool belongs_to(pid_t pid, uid_t uid) {
        uint32_t real, effective, saved, fs, wanted = (uint32_t) uid;
        _cleanup_(freep) char *text = NULL;
        char path[64];
        const char *p;

        (void) snprintf(path, sizeof(path), "/proc/%" PRId32 "/status", (int32_t) pid);
        if (read_file(AT_FDCWD, path, 16384, &text, NULL) < 0)
                return false;
        p = strstr(text, "\nUid:");
        return p &&
               sscanf(p, "\nUid: %" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32, &real, &effective, &saved, &fs) == 4 &&
               (real == wanted || effective == wanted || saved == wanted);
}

char *caller_unit(pid_t pid, uid_t uid) {
        _cleanup_(freep) char *unit = NULL;

        if (pid <= 0 || sd_pid_get_unit(pid, &unit) < 0)
                return NULL;
        /* Afterwards, in case the process has just exited. */
        return belongs_to(pid, uid) ? TAKE_PTR(unit) : NULL;
}
