/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What /etc/mshare/regions.d/NAME.conf says. */
typedef struct RegionFile {
        uint64_t size; /* bytes; 0: not given, or the server must be asked */
        uint64_t maximum; /* bytes that the region can grow to; 0: not given */
        bool size_auto;
        char *server; /* the server to ask for the size; or NULL */
        mode_t mode;
        char *user, *group; /* names or numbers; NULL: root */
        char *backing, *hugepages, *numa, *lifetime, *label; /* words of the bus interface, or NULL */
        char *path; /* for Backing=file */
        bool populate, linger_set, address_set;
        uint64_t linger_usec, address;
} RegionFile;

typedef struct Owner {
        uint32_t uid, gid;
} Owner;

void region_file_done(RegionFile *file);

/*
 * Parses the text of a file, and changes it meanwhile. filename is for messages; with `quiet` there are none. Returns 0, or
 * -EBADMSG after it has printed the errors to standard error.
 */
int region_file_parse(const char *filename, char *text, bool quiet, RegionFile *ret);

/*
 * Reads the file of the region of this name: the first one in /etc/mshare, /run/mshare and /usr/lib/mshare. Returns 0, or
 * negative errno after it has printed the error to standard error. Free *ret with region_file_done().
 */
int region_file_load(const char *name, RegionFile *ret);

/* Looks up the owner that the file names. Errors as above. May block, and use the network. */
int region_file_owner(const RegionFile *file, Owner *ret);
