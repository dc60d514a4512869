/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The identity of a caller, and whether owner, group and mode admit it. It decides from its arguments alone: access lists are
 * in policy/acl.c, questions to polkit in calls/authz.c.
 */

#include <errno.h>

#include "basic/util.h"
#include "model/access.h"

void identity_done(Identity *who) {
        free(who->gids);
        free(who->unit);
        *who = (Identity){ .uid = (uid_t) -1, .gid = (gid_t) -1 };
}

int identity_copy(const Identity *from, Identity *ret) {
        _cleanup_(identity_done) Identity copy = *from;

        copy.gids = NULL;
        copy.unit = NULL;
        if (from->n_gids > 0) {
                copy.gids = malloc(from->n_gids * sizeof(gid_t));
                if (!copy.gids)
                        return -ENOMEM;
                memcpy(copy.gids, from->gids, from->n_gids * sizeof(gid_t));
        }
        if (from->unit) {
                copy.unit = strdup(from->unit);
                if (!copy.unit)
                        return -ENOMEM;
        }
        *ret = copy;
        copy = (Identity){};
        return 0;
}

bool identity_in_group(const Identity *who, gid_t gid) {
        if (gid == (gid_t) -1)
                return false;
        if (who->gid == gid)
                return true;
        for (size_t i = 0; i < who->n_gids; i++)
                if (who->gids[i] == gid)
                        return true;
        return false;
}

bool access_by_mode(const Identity *who, Access access, uid_t uid, gid_t gid, mode_t mode) {
        mode_t bits;

        if (who->uid == 0)
                return true;
        if (who->uid == uid)
                bits = mode >> 6;
        else if (identity_in_group(who, gid))
                bits = mode >> 3;
        else
                bits = mode;
        return (bits & access) == access;
}
