/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * All return 0, -EINVAL for a word of another form, or -ERANGE for a number that is too large; *ret is written on success only.
 */

/* 0x and hexadecimal digits. */
int parse_address(const char *s, uint64_t *ret);

typedef struct Owner {
        bool has_uid, has_gid;
        uint32_t uid, gid;
        uint32_t
                login_gid; /* the login group of a user that is given by name, even if gid is another group; else UINT32_MAX */
} Owner;

/*
 * USER, USER:GROUP, :GROUP or "USER:", which takes the user's login group; names or numbers. -ESRCH: there is no such user or
 * group. Other errors: the lookup failed.
 */
int parse_owner(const char *s, Owner *ret);
