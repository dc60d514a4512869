/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads the settings that decide whether shared memory gets huge pages. It changes no setting. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "macro.h"
#include "shmem-huge.h"

void huge_setting_read(const char *path, char *ret, size_t size) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        char text[128], *begin, *end;
        ssize_t n = -1;

        if (fd >= 0) {
                n = read(fd, text, sizeof(text) - 1);
                (void) close(fd);
        }
        (void) snprintf(ret, size, "unknown");
        text[n > 0 ? n : 0] = '\0';
        begin = strchr(text, '[');
        end = begin ? strchr(begin, ']') : NULL;
        if (end)
                (void) snprintf(ret, size, "%.*s", (int) (end - begin - 1), begin + 1);
}

bool shmem_huge_denied(const char *dir, char *ret_path, size_t path_size, char *ret_value, size_t value_size) {
        char value[32], path[256];

        (void) snprintf(ret_path, path_size, "%s/shmem_enabled", dir);
        huge_setting_read(ret_path, ret_value, value_size);
        if (streq(ret_value, "deny"))
                return true;
        if (streq(ret_value, "force"))
                return false;

        /* Since Linux 6.11 each size has a setting of its own, which may be "inherit": then the common one applies. */
        (void) snprintf(path, sizeof(path), "%s/hugepages-2048kB/shmem_enabled", dir);
        huge_setting_read(path, value, sizeof(value));
        if (!streq(value, "inherit") && !streq(value, "unknown")) {
                (void) snprintf(ret_path, path_size, "%s", path);
                (void) snprintf(ret_value, value_size, "%s", value);
        }
        return streq(ret_value, "never");
}
