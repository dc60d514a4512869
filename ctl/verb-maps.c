/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command maps: lists what a region maps. It needs read permission for the region's file, but no broker. */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "bus.h"
#include "format.h"
#include "ioctl.h"
#include "place.h"
#include "process.h"
#include "table.h"
#include "util.h"
#include "verbs.h"

#define BYTES_MAX 32

static const Column columns[] = {
        { "start", COLUMN_RIGHT, NULL },
        { "end", COLUMN_JSON_ONLY, NULL },
        { "size", COLUMN_RIGHT | COLUMN_TEXT_ONLY, NULL },
        { "permissions", 0, "access" },
        { "offset", COLUMN_RIGHT, NULL },
        { "device", COLUMN_JSON_ONLY, NULL },
        { "inode", COLUMN_JSON_ONLY, NULL },
        { "path", 0, NULL },
};

static int failed(const char *name, int r) {
        if (r == -EACCES)
                complain("Cannot list the mappings of region '%s': its mode does not give you read permission", name);
        else if (r == -ENOTTY)
                complain("Cannot list the mappings of region '%s': this kernel's msharefs does not support it", name);
        else
                complain("Cannot list the mappings of region '%s': %s", name, strerror(-r));
        return r == -EACCES   ? STATUS_DENIED
               : r == -ENOTTY ? STATUS_UNSUPPORTED
               : r == -ENOENT ? STATUS_NO_REGION
                              : STATUS_FAILED;
}

/* A file with the listing. Negative errno, or 0. */
static int open_listing(const char *name, FILE **ret) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closep) int file = -1, listing = -1;

        if (asprintf(&path, MSHAREFS_PATH "/%s", name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (file < 0)
                return -xerrno();
        listing = ioctl(file, MSHARE_IOC_MAPS);
        if (listing < 0)
                return -xerrno();
        *ret = fdopen(listing, "r");
        if (!*ret)
                return -xerrno();
        TAKE_FD(listing);
        return 0;
}

static int add_mapping(Table *t, const Mapping *m) {
        char start[BYTES_MAX], size[BYTES_MAX], offset[BYTES_MAX], device[BYTES_MAX];

        (void) snprintf(start, sizeof(start), "0x%" PRIx64, m->start);
        (void) snprintf(offset, sizeof(offset), "0x%" PRIx64, m->offset);
        (void) snprintf(device, sizeof(device), "%u:%u", major(m->device), minor(m->device));
        if (table_add_number(t, m->start, start) < 0 || table_add_number(t, m->end, NULL) < 0 ||
            table_add_string(t, format_bytes(m->end - m->start, size, sizeof(size))) < 0 ||
            table_add_string(t, m->perms) < 0 || table_add_number(t, m->offset, offset) < 0 ||
            table_add_string(t, device) < 0 || table_add_number(t, m->inode, NULL) < 0 ||
            table_add_string(t, m->path) < 0)
                return -ENOMEM;
        return 0;
}

int verb_maps(const Arguments *a) {
        _cleanup_(mappings_done) Mappings m = {};
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_(fclosep) FILE *f = NULL;
        const char *name = a->names[0];
        Place place;
        size_t i;
        int r;

        r = place_find(name, &place);
        if (r != STATUS_OK)
                return r;
        if (!place.mounted) {
                complain("Cannot list the mappings of region '%s': msharefs is not mounted on " MSHAREFS_PATH, name);
                return STATUS_UNSUPPORTED;
        }
        if (place.missing) {
                complain("Cannot list the mappings of region '%s': there is no such region", name);
                return STATUS_NO_REGION;
        }

        r = open_listing(name, &f);
        if (r >= 0)
                r = mappings_read(f, &m);
        if (r < 0)
                return failed(name, r);

        r = table_new(columns, ELEMENTSOF(columns), &t);
        for (i = 0; r >= 0 && i < m.n; i++)
                r = add_mapping(t, m.list + i);
        if (r < 0 || table_print(t, a, "mapping") < 0)
                return bus_out_of_memory();
        return STATUS_OK;
}
