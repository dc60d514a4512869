/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "model/access.h"

/*
 * POSIX access lists of a region's file in the directory dirfd, on kernels and file systems that have them. All return 0 unless
 * they say otherwise, or negative errno: -EOPNOTSUPP where there are no access lists; -ERANGE for a list of more than
 * ACL_ENTRIES_MAX entries, except for acl_replace_by_mode() and acl_drop().
 */
#define ACL_ENTRIES_MAX 256

/* Whether the error of one of these functions means that the file has no list. */
static inline bool acl_is_missing(int r) {
        return r == -ENODATA || r == -EOPNOTSUPP;
}

/* Admits the user, whatever the mode is. No other user gains access; the mask grows as needed. -E2BIG: the list is full. */
int acl_grant_user(int dirfd, const char *name, uid_t uid, Access access);

/* The kernel's decision by the list: 1 or 0. -ENODATA: the file has no list, so the mode decides. */
int acl_check(int dirfd, const char *name, const Identity *who, uid_t owner, gid_t group, Access access);

/*
 * Makes the mode authoritative: removes all extra entries of the list. Without this a chmod would only set the mask of the
 * list. -ENODATA: the file has no list.
 */
int acl_replace_by_mode(int dirfd, const char *name, mode_t mode);

/* The file's permission bits as they are without the list: with a list, the group bits are the list's mask. */
int acl_plain_mode(int dirfd, const char *name, mode_t *ret);

/* Removes the list. Owner, group and others keep the permissions that they had in it. -ENODATA: the file has no list. */
int acl_drop(int dirfd, const char *name);

typedef struct AclGrant {
        bool group; /* id is a group's, else a user's */
        uint32_t id;
        unsigned access; /* permission bits, less what the mask masks out */
} AclGrant;

/* The named users and groups of the list, at most max of them. -ENODATA: the file has no list. */
int acl_list(int dirfd, const char *name, AclGrant *grants, size_t max, size_t *ret);

/*
 * Removes one user or group from the list, and the list itself if that was the last one. -ENODATA or -ESRCH: there is no such
 * entry.
 */
int acl_revoke(int dirfd, const char *name, bool group, uint32_t id);

/* What acl_restore() needs to undo a change. */
typedef struct AclBackup {
        void *list;
} AclBackup;

/* Saves the list, or the mode of a file without one, for acl_restore(). Free *ret with acl_backup_done() in any case. */
int acl_save(int dirfd, const char *name, AclBackup *ret);
int acl_restore(int dirfd, const char *name, const AclBackup *backup);
void acl_backup_done(AclBackup *backup);
