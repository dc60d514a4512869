/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "msharectl.h"

typedef struct Verb {
        const char *name;
        const char *arguments;
        const char *help;
        int min, max; /* arguments; max -1: any number */
        bool takes_command; /* after "--" */
        int (*function)(const Arguments *a);
} Verb;

/* The verbs. The first is the default; the last has no name. */
extern const Verb verbs[];

/* The verb of that name, or NULL. */
const Verb *verb_find(const char *name);

/*
 * Parses the command line, and prints what is wrong with it. -1: run *ret_verb with *a; otherwise the exit status. *a points
 * into argv and is freed with arguments_done().
 */
int options_parse(int argc, char *argv[], Arguments *a, const Verb **ret_verb);
void arguments_done(Arguments *a);

/* Prints the help for one verb, or for all of them if it is NULL. */
void help_print(const Verb *verb);
