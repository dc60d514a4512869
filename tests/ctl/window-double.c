/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Preloaded: the mapping $WINDOW, START-END as in /proc/PID/map_files, is of a file in msharefs, on a machine that has no
 * msharefs.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "macro.h"
#include "names.h"

/* msharectl's statfs() is this function, because its offsets have 64 bits. */
__attribute__((visibility("default"))) int statfs64(const char *path, struct statfs64 *fs) {
        const char *window = getenv("WINDOW"), *files = strstr(path, "/map_files/");

        if (!window || !files || !streq(files + strlen("/map_files/"), window))
                return (int) syscall(SYS_statfs, path, fs);
        memset(fs, 0, sizeof(*fs));
        fs->f_type = MSHAREFS_MAGIC;
        return 0;
}
