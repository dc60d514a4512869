/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The grammar of INI files. The sections and keys are those of the caller; this file knows none. */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "basic/ini.h"

static char *strip(char *s) {
        char *end;

        while (isspace((unsigned char) *s))
                s++;
        end = s + strlen(s);
        while (end > s && isspace((unsigned char) end[-1]))
                end--;
        *end = 0;
        return s;
}

/* Cuts the next logical line off *text: continuation lines are joined by a blank. */
static char *next_line(char **text, unsigned *line) {
        char *start = *text, *p = *text;

        if (!*p)
                return NULL;
        for (;;) {
                char *nl = strchr(p, '\n');

                (*line)++;
                if (!nl) {
                        *text = p + strlen(p);
                        return start;
                }
                if (nl > start && nl[-1] == '\\' && nl[1]) {
                        nl[-1] = nl[0] = ' ';
                        p = nl + 1;
                        continue;
                }
                *nl = 0;
                *text = nl + 1;
                return start;
        }
}

unsigned ini_parse(const char *file, char *text, IniAssign assign, void *assigned, IniComplain complain,
                   void *userdata) {
        unsigned line = 0, n_wrong = 0;
        char *section = NULL, *l;

        while ((l = next_line(&text, &line))) {
                const char *reason = NULL;
                char message[512];
                size_t n;
                char *eq;
                int r;

                l = strip(l);
                if (!*l || *l == '#' || *l == ';')
                        continue;
                n = strlen(l);
                if (*l == '[') {
                        if (l[n - 1] != ']') {
                                (void) snprintf(message, sizeof(message), "'%.100s' opens a section but lacks the ']'",
                                                l);
                                goto wrong;
                        }
                        l[n - 1] = 0;
                        section = l + 1;
                        continue;
                }
                eq = strchr(l, '=');
                if (!eq) {
                        (void) snprintf(message, sizeof(message), "'%.100s' is neither [Section] nor Key=Value", l);
                        goto wrong;
                }
                *eq = 0;
                if (!section) {
                        (void) snprintf(message, sizeof(message), "'%.100s' is before the first [Section]", strip(l));
                        goto wrong;
                }
                r = assign(section, strip(l), strip(eq + 1), assigned, &reason);
                if (r >= 0)
                        continue;
                if (r == -ENOENT)
                        (void) snprintf(message, sizeof(message), "unknown key '%.100s' in section [%.100s]", strip(l),
                                        section);
                else
                        (void) snprintf(message, sizeof(message), "%.100s=%.100s: %s", strip(l), strip(eq + 1),
                                        reason ?: strerror(-r));
        wrong:
                n_wrong++;
                complain(file, line, message, userdata);
        }
        return n_wrong;
}
