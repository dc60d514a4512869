/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "arguments.h"

typedef struct Verb {
        const char *name;
        const char *arguments;
        const char *help;
        int min, max; /* arguments; max -1: any number */
        bool takes_command; /* after "--" */
        int (*function)(const Arguments *a);
} Verb;

/* A table of verbs ends with one that has no name. This is the verb of that name, or NULL. */
const Verb *verb_find(const Verb *verbs, const char *name);

/*
 * Parses the command line, and prints what is wrong with it. The first verb of the table is the default. -1: run *ret_verb
 * with *a; otherwise the exit status. *a points into argv and is freed with arguments_done().
 */
int options_parse(const Verb *verbs, int argc, char *argv[], Arguments *a, const Verb **ret_verb);
void arguments_done(Arguments *a);

/* Prints the help for one verb, or for all of the table if it is NULL. */
void help_print(const Verb *verbs, const Verb *verb);
