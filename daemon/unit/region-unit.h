/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/state.h"

/*
 * What mshare-region@NAME.service runs, as root: a client of the broker that reads /etc/mshare/regions.d/NAME.conf.
 * Each prints errors to standard error and returns an exit status. They wait for the broker; SIGTERM and SIGINT
 * end a start, which then leaves nothing of the region that it was making.
 */
int region_unit_start(const char *name);
/* As region_unit_start(), and then waits until the region is removed. SIGTERM and SIGINT remove it. */
int region_unit_run(const char *name);
int region_unit_stop(const char *name);
/* Gives the region the mode, owner and size that the file has now; names on standard error what has changed besides. */
int region_unit_reload(const char *name);

/* What the file says. */
typedef struct RegionFile {
        uint64_t size; /* bytes; 0: not given, or to be asked */
        uint64_t maximum; /* bytes that the region can grow to; 0: not given */
        bool size_auto;
        char *server; /* the server to ask for the size; or NULL */
        mode_t mode;
        char *user, *group; /* names or numbers; NULL: root */
        char *backing, *hugepages, *numa, *lifetime, *label; /* words of the bus interface, or NULL */
        char *path; /* for Backing=file */
        bool populate, linger_set, address_set;
        uint64_t linger_usec, address;
        unsigned n_wrong; /* lines that were not taken */
} RegionFile;

void region_file_done(RegionFile *file);
/* Parses the text of a file, and changes it meanwhile. Returns 0, or -EBADMSG after printing the errors to standard error. */
int region_file_parse(const char *filename, char *text, bool quiet, RegionFile *ret);

/* Takes "postgresql:VERSION/CLUSTER" apart; the cluster's name points into it. -EINVAL if it is not of that form. */
int region_size_split(const char *server, uint32_t *ret_version, const char **ret_cluster);
/*
 * Runs that server's program, as the owner of its configuration, to learn how much shared memory it will need. Waits for it. Returns
 * 0, or negative errno having said on standard error what was wrong.
 */
int region_size_ask(const char *server, uint64_t *ret);
