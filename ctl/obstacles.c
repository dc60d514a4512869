/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Finds out why a server is not in its region, from what /proc and the broker have said. It asks neither itself, and prints
 * nothing.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format.h"
#include "names.h"
#include "obstacles.h"
#include "util.h"

#define PRELOAD "libmshare-preload.so"
#define BYTES_MAX 32
/* Only then does the library attach by name. Otherwise it maps the descriptor from the broker. */
#define FALLBACK "only if the broker or the kernel is too old to attach regions by descriptor"

void obstacles_done(Obstacles *o) {
        size_t i;

        for (i = 0; i < o->n; i++)
                free(o->list[i]);
        free(o->list);
        *o = (Obstacles){};
}

static int _printf_(2, 3) add(Obstacles *o, const char *format, ...) {
        char *text, **list;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        list = reallocarray(o->list, o->n + 1, sizeof(*list));
        if (!list) {
                free(text);
                return -ENOMEM;
        }
        o->list = list;
        o->list[o->n++] = text;
        return 0;
}

static bool has_library(const Mappings *m, const char *name) {
        const char *slash;
        size_t i;

        for (i = 0; i < m->n; i++) {
                slash = strrchr(m->list[i].path, '/');
                if (slash && strncmp(slash + 1, name, strlen(name)) == 0)
                        return true;
        }
        return false;
}

const Mapping *largest_outside(const Mappings *m, uint64_t min_size) {
        const Mapping *best = NULL;
        uint64_t size, most = 0;
        size_t i;

        for (i = 0; i < m->n; i++) {
                size = m->list[i].end - m->list[i].start;
                if (mapping_shared_memory_kind(m->list + i) && size >= min_size && size > most) {
                        best = m->list + i;
                        most = size;
                }
        }
        return best;
}

static bool in_group(const Process *p, gid_t gid) {
        size_t i;

        if (p->gid == gid)
                return true;
        for (i = 0; i < p->n_groups; i++)
                if (p->groups[i] == gid)
                        return true;
        return false;
}

/* Checks the access list. As with all POSIX access lists, one group that admits is enough. */
static bool acl_admits(const Process *p, const char *acl) {
        unsigned int id, access;
        char kind[8];
        int n = 0;

        for (; sscanf(acl, " %7[a-z]:%u:%u%n", kind, &id, &access, &n) == 3; acl += n)
                if ((access & 6) == 6 && (streq(kind, "user") ? p->uid == id : in_group(p, id)))
                        return true;
        return false;
}

/* Whether the mode permits reading and writing, by the first class that matches. */
static bool mode_admits(const Process *p, const Target *t) {
        unsigned int shift = p->uid == t->uid ? 6 : in_group(p, t->gid) ? 3 : 0;

        return p->uid == 0 || ((t->mode >> shift) & 6) == 6;
}

static int find_region_obstacles(const Process *p, const Target *t, Obstacles *o) {
        char user[64], owner[64];

        if (t->unusable)
                return add(o, "%s", t->unusable);
        if (!t->exists)
                return add(o, "There is no region '%s'", t->name);
        if (!t->ready)
                return add(o, "Region '%s' is still being created", t->name);
        (void) format_uid(p->uid, user, sizeof(user));
        (void) format_uid(t->uid, owner, sizeof(owner));
        if (!mode_admits(p, t) && !acl_admits(p, t->acl))
                return add(o, "Mode %04o of region '%s', which belongs to %s, does not admit %s to read and write",
                           t->mode, t->name, owner, user);
        if (t->uid != 0 && t->uid != p->uid)
                return add(o,
                           "Region '%s' belongs to %s, but the server runs as %s: the preload library only uses "
                           "regions of the server's user or of root",
                           t->name, owner, user);
        return 0;
}

static int find_preload_obstacles(const Process *p, const Mappings *m, const Target *t, Obstacles *o) {
        if (!has_library(m, PRELOAD))
                return has_library(m, "libmshare.so")
                               ? 0
                               : add(o, PRELOAD
                                     " is not loaded: LD_PRELOAD is not in the environment that the server gets, or names "
                                     "another file; Debian's PostgreSQL gets it from /etc/postgresql/VERSION/CLUSTER/environment");
        if (!p->environment_known)
                return 0;
        if (!p->region || p->region[0] == '\0')
                return add(o, "MSHARE_REGION is not in the server's environment");
        if (t->name && !streq(p->region, t->name))
                return add(o, "MSHARE_REGION in the server's environment is '%s', not '%s'", p->region, t->name);
        return 0;
}

static int find_memory_obstacles(const Mappings *m, const Target *t, uint64_t min_size, Obstacles *o) {
        const Mapping *largest = largest_outside(m, 1);
        char b1[BYTES_MAX], b2[BYTES_MAX];
        uint64_t size;

        (void) format_bytes(min_size, b2, sizeof(b2));
        if (!largest)
                return add(o, "The server has no shared memory that could be in a region");
        size = largest->end - largest->start;
        (void) format_bytes(size, b1, sizeof(b1));
        if (size < min_size)
                return add(
                        o,
                        "The server has no mapping that fits: its largest shared memory is %s, and only mappings of at "
                        "least %s go into a region (MSHARE_MIN_SIZE)",
                        b1, b2);
        if (t->exists && t->ready && size > t->size)
                return add(o,
                           "Region '%s' is too small: it has %" PRIu64 " bytes, and the server's shared memory has "
                           "%" PRIu64,
                           t->name, t->size, size);
        return 0;
}

static int find_kernel_obstacles(const Process *p, const Target *t, Obstacles *o) {
        char b1[BYTES_MAX], b2[BYTES_MAX];
        int r = 0;

        if (t->length > 0 && p->limit_as != UINT64_MAX &&
            (p->limit_as < p->vm_size || p->limit_as - p->vm_size < t->length))
                r = add(o,
                        "The server's address space is limited to %s (LimitAS=, RLIMIT_AS), which has no room for the "
                        "region's window of %s",
                        format_bytes(p->limit_as, b1, sizeof(b1)), format_bytes(t->length, b2, sizeof(b2)));
        if (r >= 0 && !p->mounted)
                r = add(o, "The server does not see msharefs on " MSHAREFS_PATH ", which it needs " FALLBACK);
        else if (r >= 0 && p->read_only)
                r = add(o,
                        MSHAREFS_PATH " is read-only for the server, which needs it writable " FALLBACK
                                      "; then a unit with ProtectKernelTunables= needs ReadWritePaths=" MSHAREFS_PATH);
        if (r >= 0 && p->seccomp != 0)
                r = add(o,
                        "A system call filter (SystemCallFilter=, seccomp) is active and may refuse what the library "
                        "needs");
        return r;
}

int obstacles_find(const Process *p, const Mappings *m, const Target *t, uint64_t min_size, Obstacles *ret) {
        _cleanup_(obstacles_done) Obstacles o = {};
        int r = 0;

        if (t->name || t->unusable)
                r = find_region_obstacles(p, t, &o);
        if (r >= 0)
                r = find_preload_obstacles(p, m, t, &o);
        if (r >= 0)
                r = find_memory_obstacles(m, t, min_size, &o);
        if (r >= 0)
                r = find_kernel_obstacles(p, t, &o);
        if (r < 0)
                return r;
        *ret = o;
        o = (Obstacles){};
        return 0;
}
