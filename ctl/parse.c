/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads addresses and owners from the command line. It prints nothing: words.c has the messages. Modes are in base/mode.c,
 * sizes and times in base/quantity.c.
 */

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nss.h"
#include "parse.h"
#include "util.h"

/* Parses digits of that base with nothing before them; *end is what follows. */
static int parse_number(const char *s, int base, uint64_t *ret, const char **end) {
        unsigned long long n;
        char *e;

        if (!isxdigit((unsigned char) s[0]))
                return -EINVAL;
        errno = 0;
        n = strtoull(s, &e, base);
        if (errno == ERANGE)
                return -ERANGE;
        if (errno != 0 || e == s)
                return -EINVAL;
        *ret = n;
        *end = e;
        return 0;
}

int parse_address(const char *s, uint64_t *ret) {
        const char *end;
        uint64_t n;
        int r;

        /* strtoull() would accept a second 0x. */
        if (s[0] != '0' || (s[1] != 'x' && s[1] != 'X') || strpbrk(s + 2, "xX"))
                return -EINVAL;
        r = parse_number(s + 2, 16, &n, &end);
        if (r < 0)
                return r;
        if (*end != '\0')
                return -EINVAL;
        *ret = n;
        return 0;
}

/* Parses an ID. UINT32_MAX means "none" to the kernel and is not an ID. */
static int parse_id(const char *s, uint32_t *ret) {
        const char *end;
        uint64_t n;
        int r;

        if (!isdigit((unsigned char) s[0]))
                return -EINVAL;
        r = parse_number(s, 10, &n, &end);
        if (r < 0)
                return r;
        if (*end != '\0')
                return -EINVAL;
        if (n >= UINT32_MAX)
                return -ERANGE;
        *ret = (uint32_t) n;
        return 0;
}

/* Returns 1 if the user was found by name, 0 if by number. */
static int find_user(const char *s, uint32_t *ret_uid, uint32_t *ret_gid) {
        _cleanup_(freep) char *data = NULL, *more = NULL;
        struct passwd pw;
        int r, k;

        r = nss_user(s, 0, &pw, &data);
        if (r >= 0) {
                *ret_uid = pw.pw_uid;
                *ret_gid = pw.pw_gid;
                return 1;
        }

        k = parse_id(s, ret_uid);
        if (k < 0)
                return k == -EINVAL ? r : k;
        /* Without an entry the login group is unknown. */
        *ret_gid = nss_user(NULL, *ret_uid, &pw, &more) >= 0 ? pw.pw_gid : UINT32_MAX;
        return 0;
}

static int find_group(const char *s, uint32_t *ret_gid) {
        _cleanup_(freep) char *data = NULL;
        struct group gr;
        int r, k;

        r = nss_group(s, 0, &gr, &data);
        if (r >= 0) {
                *ret_gid = gr.gr_gid;
                return 0;
        }
        k = parse_id(s, ret_gid);
        return k == -EINVAL ? r : k;
}

int parse_owner(const char *s, Owner *ret) {
        _cleanup_(freep) char *user = NULL;
        Owner o = { .login_gid = UINT32_MAX };
        uint32_t login_gid = UINT32_MAX;
        const char *colon;
        int r;

        colon = strchrnul(s, ':');
        if (s[0] == '\0' || streq(s, ":"))
                return -EINVAL;

        user = strndup(s, (size_t) (colon - s));
        if (!user)
                return -ENOMEM;

        if (user[0] != '\0') {
                r = find_user(user, &o.uid, &login_gid);
                if (r < 0)
                        return r;
                if (r > 0)
                        o.login_gid = login_gid;
                o.has_uid = true;
        }

        if (colon[0] == ':' && colon[1] != '\0') {
                r = find_group(colon + 1, &o.gid);
                if (r < 0)
                        return r;
                o.has_gid = true;
        } else if (colon[0] == ':') {
                if (login_gid == UINT32_MAX)
                        return -ESRCH;
                o.gid = login_gid;
                o.has_gid = true;
        }

        *ret = o;
        return 0;
}
