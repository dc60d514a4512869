/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_NSS_H
#define MSHARECTL_NSS_H

#include <grp.h>
#include <pwd.h>
#include <stdint.h>

/*
 * A user by name or, if name is NULL, by number; and a group. What the strings of *ret point into is *ret_buf, the
 * caller's to free. 0; -ESRCH: there is none; or what kept us from finding out. May sleep, and ask the network.
 */
int nss_user(const char *name, uint32_t uid, struct passwd *ret, char **ret_buf);
int nss_group(const char *name, uint32_t gid, struct group *ret, char **ret_buf);

#endif
