/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* What /proc says about a process. proc is the path of /proc, or of a test's folder. */

typedef struct Mapping {
        uint64_t start, end;
        char perms[5];
        uint64_t offset; /* in the file */
        dev_t device;
        uint64_t inode;
        char *path; /* "" for anonymous memory */
} Mapping;

typedef struct Mappings {
        Mapping *list;
        size_t n;
} Mappings;

void mappings_done(Mappings *m);

/* Reads a file of the form of /proc/PID/maps. 0 or negative errno. */
int mappings_read(FILE *f, Mappings *ret);
/* All mappings of the process. -ESRCH: no such process; -EACCES: this user may not inspect it. */
int process_read_mappings(const char *proc, pid_t pid, Mappings *ret);

/* The PIDs of all processes, in order; to be freed. 0, or negative errno. */
int process_list(const char *proc, pid_t **ret, size_t *ret_n);
/* The process's name, "" if it has exited. */
void process_read_command(const char *proc, pid_t pid, char *buf, size_t size);

/* Whether the mapping is a window of a region: a shared mapping of that file or, with inode 0, of any file on that device. */
bool mapping_is_window(const Mapping *m, dev_t device, uint64_t inode);
/*
 * Whether the mapping is a shared mapping of a file in any msharefs, even one that is no longer mounted: 1 or 0, -ENOMEM, or
 * -EACCES for users other than root, who cannot see that.
 */
int mapping_is_in_msharefs(const char *proc, pid_t pid, const Mapping *m);
/* The name of the file that is mapped, without its folder. */
const char *mapping_name(const Mapping *m);
/*
 * The kind of shared, writable memory without a file that the mapping is, as text for messages; NULL if it is something else.
 */
const char *mapping_shared_memory_kind(const Mapping *m);

typedef struct Process {
        uid_t uid; /* effective; for files */
        gid_t gid;
        gid_t *groups;
        size_t n_groups;
        int seccomp; /* 0: none, 1: strict, 2: a filter */
        uint64_t vm_size; /* bytes */
        uint64_t limit_as; /* bytes; UINT64_MAX: no limit */
        bool mounted, read_only; /* msharefs in its usual place, as the process sees it */
        char *region, *min_size; /* from its environment at the start; NULL: not there, or no longer readable */
        bool environment_known;
} Process;

void process_done(Process *p);

/* Everything but the mappings. Errors as above. */
int process_read(const char *proc, pid_t pid, Process *ret);
/*
 * Only the members that come from the environment. A server may overwrite its environment with its title, and users cannot read
 * that of another user's process. Then environment_known stays false, which is not an error. 0 or -ENOMEM; free *p with
 * process_done() in any case.
 */
int process_read_environment(const char *proc, pid_t pid, Process *p);
