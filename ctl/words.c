/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads words of the command line and prints errors. parse.c and base/mode.c know the forms. */

#include <errno.h>
#include <string.h>

#include "mode.h"
#include "words.h"

int parse_mode_word(const char *s, uint32_t *ret) {
        if (parse_mode(s, ret) >= 0)
                return STATUS_OK;
        complain("Invalid mode '%s': expected an octal number from 0 to 0777", s);
        return STATUS_USAGE;
}

int parse_owner_word(const Arguments *a, const char *s, Owner *ret) {
        int r;

        if ((a->host || a->machine) && s[strspn(s, "0123456789:")] != '\0') {
                complain("Invalid owner '%s': expected numbers, because names may differ with --host and --machine", s);
                return STATUS_USAGE;
        }
        r = parse_owner(s, ret);
        if (r >= 0)
                return STATUS_OK;
        if (r == -ESRCH)
                complain("Owner '%s' names a user or group that does not exist", s);
        else if (r == -EINVAL || r == -ERANGE)
                complain("Invalid owner '%s': expected USER, USER:GROUP or :GROUP", s);
        else {
                complain("Cannot look up owner '%s': %s", s, strerror(-r));
                return STATUS_FAILED;
        }
        return STATUS_USAGE;
}
