/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <grp.h>
#include <pwd.h>
#include <stdint.h>

/*
 * Looks up a user, or a group, by name or, if name is NULL, by number. The strings of *ret point into *ret_buf, which the
 * caller frees. 0; -ESRCH: there is none; or another negative errno. May block, and use the network.
 */
int nss_user(const char *name, uint32_t uid, struct passwd *ret, char **ret_buf);
int nss_group(const char *name, uint32_t gid, struct group *ret, char **ret_buf);
