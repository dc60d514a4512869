/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Finds the file of a region in msharefs, and recognizes its windows in /proc. It does not ask the broker. */

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "bus.h"
#include "place.h"
#include "util.h"

int place_find(const char *region, Place *ret) {
        _cleanup_(freep) char *path = NULL;
        Place p = { .region = region };
        struct statfs fs;
        struct stat st;

        if (region && (strchr(region, '/') || region[0] == '\0' || streq(region, ".") || streq(region, ".."))) {
                complain("Invalid region name '%s': expected a name without '/', and not '.' or '..'", region);
                return STATUS_USAGE;
        }
        p.mounted = statfs(MSHAREFS_PATH, &fs) >= 0 && fs.f_type == MSHAREFS_MAGIC && stat(MSHAREFS_PATH, &st) >= 0;
        if (p.mounted)
                p.device = st.st_dev;
        if (p.mounted && region) {
                if (asprintf(&path, MSHAREFS_PATH "/%s", region) < 0) {
                        path = NULL;
                        return bus_out_of_memory();
                }
                if (stat(path, &st) >= 0)
                        p.inode = st.st_ino;
                else if (errno == ENOENT)
                        p.missing = true;
                else {
                        complain("Cannot inspect region '%s': %s", region, strerror(xerrno()));
                        return STATUS_FAILED;
                }
        }
        *ret = p;
        return STATUS_OK;
}

int place_has_window(const Place *p, const char *proc, pid_t pid, const Mapping *m) {
        if (p->mounted)
                return !p->missing && mapping_is_window(m, p->device, p->inode);
        if (p->region && !streq(mapping_name(m), p->region))
                return 0;
        return mapping_is_in_msharefs(proc, pid, m);
}
