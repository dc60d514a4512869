/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "access.h"

/*
 * POSIX access lists of a region's file in the directory dirfd, for the kernels and file systems that have them.
 * All return -EOPNOTSUPP where there are none.
 */

/* Admits that user, whatever the mode says. Nobody else gets more than he had; the mask grows as needed. */
int acl_grant_user(int dirfd, const char *name, uid_t uid, Access access);

/* As the kernel would decide by the list: 1 or 0. -ENODATA: the file has no list, the mode decides. */
int acl_check(int dirfd, const char *name, const Identity *who, uid_t owner, gid_t group, Access access);

/*
 * The mode is to say all: whom a list admits in addition is admitted no more. Without this a chmod would set the mask of the
 * list, and neither take back nor give what its bits say. -ENODATA: the file has no list.
 */
int acl_replace_by_mode(int dirfd, const char *name, mode_t mode);
