/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "kinds.h"

/* A caller, as identified by the bus. */
typedef struct Identity {
        uid_t uid;
        gid_t gid; /* the primary group */
        gid_t *gids; /* all groups; the primary one is among them if the bus reported it */
        size_t n_gids;
        pid_t pid; /* for display only */
        char *unit; /* the unit of that process when it was identified, or NULL; for display only */
} Identity;

void identity_done(Identity *who);
/* 0, or -ENOMEM with *ret unchanged. */
int identity_copy(const Identity *from, Identity *ret);
bool identity_in_group(const Identity *who, gid_t gid);

/*
 * Whether the kernel would admit the identity by owner, group and mode alone: the first class that matches decides, as for any
 * file. uid 0 is always admitted.
 */
bool access_by_mode(const Identity *who, Access access, uid_t uid, gid_t gid, mode_t mode);
