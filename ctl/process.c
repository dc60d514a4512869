/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads what /proc shows of a process: its mappings, user, limits, mounts and environment. It draws no conclusions:
 * that is in obstacles.c, sharers.c and holders.c.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "names.h"
#include "process.h"
#include "util.h"

/* Further groups of a user are ignored. */
#define GROUPS_MAX 65536
#define ENVIRONMENT_MAX (4U << 20)

void mappings_done(Mappings *m) {
        size_t i;

        for (i = 0; i < m->n; i++)
                free(m->list[i].path);
        free(m->list);
        *m = (Mappings){};
}

void process_done(Process *p) {
        free(p->groups);
        free(p->region);
        free(p->min_size);
        *p = (Process){};
}

/* The kernel has several errors for a process that has exited. */
static int open_file(const char *proc, pid_t pid, const char *name, FILE **ret) {
        _cleanup_(freep) char *path = NULL;
        FILE *f;

        if (asprintf(&path, "%s/%d/%s", proc, (int) pid, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        f = fopen(path, "re");
        if (!f)
                return errno == ENOENT ? -ESRCH : errno == EPERM ? -EACCES : -xerrno();
        *ret = f;
        return 0;
}

static int add_mapping(Mappings *m, const char *line) {
        Mapping one = {}, *list;
        unsigned int major, minor;
        int path = 0;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &one.start, &one.end,
                   one.perms, &one.offset, &major, &minor, &one.inode, &path) < 7 ||
            one.end < one.start)
                return -EBADMSG;
        one.device = makedev(major, minor);
        /* Trailing blanks belong to the column of an empty path. */
        one.path = strdup(path > 0 ? line + path : "");
        list = reallocarray(m->list, m->n + 1, sizeof(*list));
        if (list)
                m->list = list;
        if (!list || !one.path) {
                free(one.path);
                return -ENOMEM;
        }
        m->list[m->n++] = one;
        return 0;
}

int mappings_read(FILE *f, Mappings *ret) {
        _cleanup_(mappings_done) Mappings m = {};
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        ssize_t n;
        int r;

        errno = 0;
        while ((n = getline(&line, &size, f)) > 0) {
                if (line[n - 1] == '\n')
                        line[n - 1] = '\0';
                r = add_mapping(&m, line);
                if (r < 0)
                        return r;
                errno = 0;
        }
        if (ferror(f))
                return errno == EPERM ? -EACCES : -xerrno();

        *ret = m;
        m = (Mappings){};
        return 0;
}

int process_read_mappings(const char *proc, pid_t pid, Mappings *ret) {
        _cleanup_(fclosep) FILE *f = NULL;
        int r;

        r = open_file(proc, pid, "maps", &f);
        return r < 0 ? r : mappings_read(f, ret);
}

bool mapping_is_window(const Mapping *m, dev_t device, uint64_t inode) {
        return m->perms[3] == 's' && m->device == device && (inode == 0 || m->inode == inode);
}

int mapping_is_in_msharefs(const char *proc, pid_t pid, const Mapping *m) {
        _cleanup_(freep) char *path = NULL;
        struct statfs fs;

        /* Files of msharefs are on a device without hardware, so its major number is 0. */
        if (m->perms[3] != 's' || m->inode == 0 || major(m->device) != 0)
                return 0;
        if (asprintf(&path, "%s/%d/map_files/%" PRIx64 "-%" PRIx64, proc, (int) pid, m->start, m->end) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        if (statfs(path, &fs) < 0)
                return errno == EACCES || errno == EPERM ? -EACCES : 0;
        return fs.f_type == MSHAREFS_MAGIC;
}

const char *mapping_name(const Mapping *m) {
        const char *slash = strrchr(m->path, '/');

        return slash ? slash + 1 : m->path;
}

const char *mapping_shared_memory_kind(const Mapping *m) {
        if (m->perms[3] != 's' || m->perms[1] != 'w')
                return NULL;
        if (streq(m->path, "/dev/zero (deleted)"))
                return "anonymous memory";
        if (strncmp(m->path, "/SYSV", strlen("/SYSV")) == 0)
                return "a System V segment";
        if (strncmp(m->path, "/anon_hugepage", strlen("/anon_hugepage")) == 0)
                return "huge pages";
        return NULL;
}

static int read_groups(const char *s, Process *p) {
        unsigned int gid;
        gid_t *groups;
        int n = 0;

        for (; sscanf(s, "%u%n", &gid, &n) == 1 && p->n_groups < GROUPS_MAX; s += n) {
                groups = reallocarray(p->groups, p->n_groups + 1, sizeof(*groups));
                if (!groups)
                        return -ENOMEM;
                p->groups = groups;
                p->groups[p->n_groups++] = gid;
        }
        return 0;
}

/* Calls found() for each line of a file of the process, without its line feed. */
static int for_each_line(const char *proc, pid_t pid, const char *name, int (*found)(const char *line, Process *p),
                         Process *p) {
        _cleanup_(fclosep) FILE *f = NULL;
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        ssize_t n;
        int r;

        r = open_file(proc, pid, name, &f);
        while (r >= 0 && (n = getline(&line, &size, f)) > 0) {
                if (line[n - 1] == '\n')
                        line[n - 1] = '\0';
                r = found(line, p);
        }
        return r;
}

static int on_status(const char *line, Process *p) {
        unsigned int id;
        uint64_t kb;

        /* The last of the four IDs is used for access to files. */
        if (sscanf(line, "Uid: %*u %*u %*u %u", &id) == 1)
                p->uid = id;
        else if (sscanf(line, "Gid: %*u %*u %*u %u", &id) == 1)
                p->gid = id;
        else if (sscanf(line, "VmSize: %" SCNu64, &kb) == 1)
                p->vm_size = kb * 1024;
        else if (sscanf(line, "Seccomp: %u", &id) == 1)
                p->seccomp = (int) id;
        else if (strncmp(line, "Groups:", strlen("Groups:")) == 0)
                return read_groups(line + strlen("Groups:"), p);
        return 0;
}

static int on_limit(const char *line, Process *p) {
        uint64_t bytes;

        if (sscanf(line, "Max address space %" SCNu64, &bytes) == 1)
                p->limit_as = bytes;
        return 0;
}

static bool has_option(const char *options, const char *option) {
        size_t n = strlen(option);

        for (; *options; options += strcspn(options, ","), options += *options == ',')
                if (strncmp(options, option, n) == 0 && (options[n] == ',' || options[n] == '\0'))
                        return true;
        return false;
}

/* Mounts are listed in their order: a later mount on /sys hides what was below. */
static int on_mount(const char *line, Process *p) {
        char place[sizeof(MSHAREFS_PATH) + 1], options[256], type[32], super[256];
        const char *rest;
        size_t n;

        if (sscanf(line, "%*s %*s %*s %*s %15s %255s", place, options) != 2)
                return 0;
        n = strlen(place);
        if (strncmp(place, MSHAREFS_PATH, n) != 0 || (MSHAREFS_PATH[n] != '/' && MSHAREFS_PATH[n] != '\0'))
                return 0;
        rest = strstr(line, " - ");
        p->mounted = MSHAREFS_PATH[n] == '\0' && rest && sscanf(rest, " - %31s %*s %255s", type, super) == 2 &&
                     streq(type, "msharefs");
        p->read_only = p->mounted && (has_option(options, "ro") || has_option(super, "ro"));
        return 0;
}

int process_read_environment(const char *proc, pid_t pid, Process *p) {
        static const char region[] = "MSHARE_REGION=", min_size[] = "MSHARE_MIN_SIZE=";
        _cleanup_(fclosep) FILE *f = NULL;
        _cleanup_(freep) char *entry = NULL;
        size_t size = 0, total = 0;
        char **place;
        ssize_t n;
        int r;

        r = open_file(proc, pid, "environ", &f);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        while ((n = getdelim(&entry, &size, '\0', f)) > 0 && (total += (size_t) n) < ENVIRONMENT_MAX) {
                if (strchr(entry, '='))
                        p->environment_known = true;
                place = strncmp(entry, region, strlen(region)) == 0       ? &p->region
                        : strncmp(entry, min_size, strlen(min_size)) == 0 ? &p->min_size
                                                                          : NULL;
                if (place && !*place) {
                        *place = strdup(strchr(entry, '=') + 1);
                        if (!*place)
                                return -ENOMEM;
                }
        }
        return 0;
}

int process_read(const char *proc, pid_t pid, Process *ret) {
        _cleanup_(process_done) Process p = { .limit_as = UINT64_MAX };
        int r;

        r = for_each_line(proc, pid, "status", on_status, &p);
        if (r >= 0)
                r = for_each_line(proc, pid, "limits", on_limit, &p);
        if (r >= 0)
                r = for_each_line(proc, pid, "mountinfo", on_mount, &p);
        if (r >= 0)
                r = process_read_environment(proc, pid, &p);
        if (r < 0)
                return r;
        *ret = p;
        p = (Process){};
        return 0;
}

static int compare_pids(const void *a, const void *b) {
        pid_t x = *(const pid_t *) a, y = *(const pid_t *) b;

        return x < y ? -1 : x > y;
}

int process_list(const char *proc, pid_t **ret, size_t *ret_n) {
        _cleanup_(closedirp) DIR *dir = opendir(proc);
        _cleanup_(freep) pid_t *list = NULL;
        const struct dirent *de;
        pid_t *more;
        size_t n = 0;

        if (!dir)
                return -xerrno();
        while ((de = readdir(dir))) {
                if (de->d_name[strspn(de->d_name, "0123456789")] != '\0')
                        continue;
                more = reallocarray(list, n + 1, sizeof(*list));
                if (!more)
                        return -ENOMEM;
                list = more;
                list[n++] = (pid_t) strtol(de->d_name, NULL, 10);
        }
        if (n > 0)
                qsort(list, n, sizeof(*list), compare_pids);
        *ret = TAKE_PTR(list);
        *ret_n = n;
        return 0;
}

void process_read_command(const char *proc, pid_t pid, char *buf, size_t size) {
        _cleanup_(fclosep) FILE *f = NULL;

        buf[0] = '\0';
        if (open_file(proc, pid, "comm", &f) < 0)
                return;
        if (!fgets(buf, (int) size, f))
                buf[0] = '\0';
        buf[strcspn(buf, "\n")] = '\0';
}
