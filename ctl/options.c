/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The options: one table, from which the command line is parsed and the help is printed. It uses no bus. */

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "kinds.h"
#include "options.h"
#include "util.h"

typedef enum OptionKind {
        OPTION_TEXT, /* its argument, as it stands */
        OPTION_FLAG, /* a bool becomes true */
        OPTION_OFF, /* a bool becomes false */
        OPTION_PROPERTY, /* may be given several times */
        OPTION_JSON,
        OPTION_HELP,
        OPTION_VERSION,
} OptionKind;

typedef struct OptionInfo {
        const char *name;
        const char *argument; /* or NULL */
        const char *verbs; /* the verbs that have it; NULL: all */
        OptionKind kind;
        char letter; /* or 0 */
        size_t offset; /* in Arguments */
        const char *help;
} OptionInfo;

#define INTO(member) offsetof(Arguments, member)

static const OptionInfo infos[] = {
        { "help", NULL, NULL, OPTION_HELP, 'h', 0, "Show this help" },
        { "version", NULL, NULL, OPTION_VERSION, 0, 0, "Show the version" },
        { "json", "short|pretty|off", NULL, OPTION_JSON, 0, 0, "Write JSON, on one line or indented" },
        { "no-pager", NULL, NULL, OPTION_OFF, 0, INTO(pager), "Do not use a pager" },
        { "no-legend", NULL, NULL, OPTION_OFF, 0, INTO(legend), "Leave out headers and footers" },
        { "no-ask-password", NULL, NULL, OPTION_OFF, 0, INTO(ask_password), "Fail rather than ask for a password" },
        { "host", "[USER@]HOST", NULL, OPTION_TEXT, 'H', INTO(host), "Ask the broker of that host, through ssh" },
        { "machine", "CONTAINER", NULL, OPTION_TEXT, 'M', INTO(machine), "Ask the broker in that local container" },
        { "quiet", NULL, NULL, OPTION_FLAG, 'q', INTO(quiet), "Print nothing on success" },

        { "addresses", NULL, "list", OPTION_FLAG, 0, INTO(addresses), "Show the addresses of the windows" },
        { "sort", "COLUMN", "list top", OPTION_TEXT, 0, INTO(sort), "Sort by this column, the largest number first" },
        { "batch", NULL, "top", OPTION_FLAG, 'b', INTO(batch), "Write one list after another, for pipes and files" },
        { "iterations", "NUMBER", "top", OPTION_TEXT, 'n', INTO(iterations), "Stop after this many updates" },
        { "delay", "TIME", "top", OPTION_TEXT, 'd', INTO(delay), "Time between updates (default 2s)" },
        { "property", "NAME", "show", OPTION_PROPERTY, 'p', 0, "Show only this property" },
        { "value", NULL, "show", OPTION_FLAG, 0, INTO(value), "Show the value without the name" },
        { "mode", "MODE", "create", OPTION_TEXT, 0, INTO(mode), "Permissions, octal (default 0600)" },
        { "owner", "USER[:GROUP]", "create", OPTION_TEXT, 0, INTO(owner), "Owner and group (default: yours)" },
        { "backing", "KIND", "create", OPTION_TEXT, 0, INTO(backing), BACKING_WORDS },
        { "file", "PATH", "create", OPTION_TEXT, 0, INTO(file), "The file of --backing=file" },
        { "populate", NULL, "create resize", OPTION_FLAG, 0, INTO(populate), "Allocate all memory before returning" },
        { "maximum", "SIZE", "create", OPTION_TEXT, 0, INTO(maximum), "How large it can become (default: SIZE)" },
        { "lifetime", "KIND", "create", OPTION_TEXT, 0, INTO(lifetime), LIFETIME_WORDS },
        { "linger", "TIME", "create", OPTION_TEXT, 0, INTO(linger), "How long it outlives its last lease" },
        { "address", "0xADDRESS", "create", OPTION_TEXT, 0, INTO(address), "The address of its window" },
        { "hugepages", "KIND", "create", OPTION_TEXT, 0, INTO(hugepages), HUGEPAGES_WORDS },
        { "numa", "POLICY", "create", OPTION_TEXT, 0, INTO(numa), "default, interleave, bind:NODES" },
        { "label", "TEXT", "create", OPTION_TEXT, 0, INTO(label), "A note" },
        { "force", NULL, "remove resize", OPTION_FLAG, 0, INTO(force), "Even if it has clients" },
        { "sharers", NULL, "clients", OPTION_FLAG, 0, INTO(sharers), "List the processes that have it attached" },
        { "wait", "TIME", "check", OPTION_TEXT, 0, INTO(wait), "Give the server this long (default 0)" },
        { "output", "FILE", "metrics", OPTION_TEXT, 0, INTO(output), "Replace this file atomically" },
        { "fallback", "yes|no", "run", OPTION_TEXT, 0, INTO(fallback),
          "Whether to go on without the region (default no)" },
        { "min-size", "SIZE", "run check", OPTION_TEXT, 0, INTO(min_size),
          "Smallest mapping that goes into it (default 64M)" },
};

static bool option_is_for(const OptionInfo *info, const char *verb) {
        size_t n = strlen(verb);
        const char *p;

        if (!info->verbs)
                return true;
        for (p = info->verbs; *p; p += strcspn(p, " "), p += strspn(p, " "))
                if (strncmp(p, verb, n) == 0 && (p[n] == ' ' || p[n] == '\0'))
                        return true;
        return false;
}

const Verb *verb_find(const Verb *verbs, const char *name) {
        const Verb *verb;

        for (verb = verbs; verb->name; verb++)
                if (streq(verb->name, name))
                        return verb;
        return NULL;
}

static void print_option(const OptionInfo *info) {
        char text[64], letter[3] = "  ";

        if (info->letter)
                (void) snprintf(letter, sizeof(letter), "-%c", info->letter);
        (void) snprintf(text, sizeof(text), "--%s%s%s", info->name, info->argument ? "=" : "", info->argument ?: "");
        (void) printf("  %s %-28s %s\n", letter, text, info->help);
}

/* The options of one verb, or with NULL those that all verbs have. */
static void print_options(const Verb *verb) {
        bool any = false;
        size_t i;

        for (i = 0; i < ELEMENTSOF(infos); i++)
                if (verb ? infos[i].verbs && option_is_for(infos + i, verb->name) : !infos[i].verbs) {
                        if (!any)
                                (void) printf("\n%s%s%s:\n", "Options", verb ? " of " : "", verb ? verb->name : "");
                        any = true;
                        print_option(infos + i);
                }
}

void help_print(const Verb *verbs, const Verb *verb) {
        char synopsis[64];
        const Verb *v;

        if (verb) {
                (void) printf("msharectl [OPTIONS...] %s%s%s\n\n%s.\n", verb->name, verb->arguments[0] ? " " : "",
                              verb->arguments, verb->help);
                print_options(verb);
        } else {
                (void) printf("msharectl [OPTIONS...] COMMAND\n\n"
                              "Regions of memory whose page tables processes share.\n\n"
                              "Commands:\n");
                for (v = verbs; v->name; v++) {
                        (void) snprintf(synopsis, sizeof(synopsis), "%s %s", v->name, v->arguments);
                        (void) printf("  %-31s %s\n", synopsis, v->help);
                }
        }
        print_options(NULL);
        for (v = verbs; !verb && v->name; v++)
                print_options(v);
        (void) puts("\nSee msharectl(1) for details.");
}

static int usage_error(void) {
        (void) fputs("Try msharectl --help.\n", stderr);
        return STATUS_USAGE;
}

static int parse_json_mode(const char *s, JsonMode *ret) {
        if (streq(s, "off"))
                *ret = JSON_OFF;
        else if (streq(s, "short"))
                *ret = JSON_SHORT;
        else if (streq(s, "pretty"))
                *ret = JSON_PRETTY;
        else {
                complain("Invalid --json '%s': expected one of short, pretty, off", s);
                return usage_error();
        }
        return STATUS_OK;
}

static int add_property(Arguments *a, const char *name) {
        const char **list;

        list = (const char **) reallocarray(a->properties, a->n_properties + 1, sizeof(*list));
        if (!list) {
                complain("Out of memory");
                return STATUS_FAILED;
        }
        a->properties = list;
        a->properties[a->n_properties++] = name;
        return STATUS_OK;
}

static int take_option(const OptionInfo *info, const char *argument, Arguments *a) {
        void *place = (char *) a + info->offset;

        switch (info->kind) {
        case OPTION_TEXT:
                *(const char **) place = argument;
                return STATUS_OK;
        case OPTION_FLAG:
        case OPTION_OFF:
                *(bool *) place = info->kind == OPTION_FLAG;
                return STATUS_OK;
        case OPTION_PROPERTY:
                return add_property(a, argument);
        case OPTION_JSON:
                return parse_json_mode(argument, &a->json);
        case OPTION_HELP:
                a->help = true;
                return STATUS_OK;
        default:
                a->version = true;
                return STATUS_OK;
        }
}

/* Processes and files of another machine cannot be reached. */
static int check_place(const Verb *verb, const Arguments *a) {
        const char *option = a->host ? "--host" : "--machine";
        bool here = streq(verb->name, "check") || streq(verb->name, "maps") || streq(verb->name, "run");

        if (!a->host && !a->machine)
                return STATUS_OK;
        if (a->host && a->machine)
                complain("--host and --machine cannot be combined");
        else if (here)
                complain("%s does not support %s: it works only on this machine", verb->name, option);
        else if (a->sharers || a->file)
                complain("%s and %s cannot be combined", a->sharers ? "--sharers" : "--file", option);
        else
                return STATUS_OK;
        return usage_error();
}

static int check_arguments(const Verb *verb, const Arguments *a) {
        if (a->n_names < verb->min || (verb->max >= 0 && a->n_names > verb->max)) {
                complain("Too %s arguments for %s: expected %s", a->n_names < verb->min ? "few" : "many", verb->name,
                         verb->arguments[0] ? verb->arguments : "none");
                return usage_error();
        }
        if (verb->takes_command && (!a->command || !a->command[0])) {
                complain("%s requires a command after '--'", verb->name);
                return usage_error();
        }
        if (!verb->takes_command && a->command) {
                complain("%s takes no command after '--'", verb->name);
                return usage_error();
        }
        return STATUS_OK;
}

/* Fills the two tables for getopt_long(). The values are indexes into infos, or the letters themselves. */
static void make_getopt_tables(struct option *options, char *letters) {
        size_t i;

        for (i = 0; i < ELEMENTSOF(infos); i++) {
                options[i] = (struct option){
                        .name = infos[i].name,
                        .has_arg = infos[i].argument ? required_argument : no_argument,
                        .val = 0x100 + (int) i,
                };
                if (infos[i].letter) {
                        *letters++ = infos[i].letter;
                        if (infos[i].argument)
                                *letters++ = ':';
                }
        }
        options[ELEMENTSOF(infos)] = (struct option){};
        *letters = '\0';
}

static const OptionInfo *find_option(int c) {
        size_t i;

        if (c >= 0x100)
                return infos + (c - 0x100);
        for (i = 0; i < ELEMENTSOF(infos); i++)
                if (infos[i].letter == c)
                        return infos + i;
        return NULL;
}

/* Everything after "--" belongs to the command, including options. */
static int split_command(int argc, char *argv[], Arguments *a) {
        int i;

        for (i = 1; i < argc; i++)
                if (streq(argv[i], "--")) {
                        a->command = argv + i + 1;
                        argv[i] = NULL;
                        return i;
                }
        return argc;
}

int options_parse(const Verb *verbs, int argc, char *argv[], Arguments *a, const Verb **ret_verb) {
        struct option options[ELEMENTSOF(infos) + 1];
        char letters[2 * ELEMENTSOF(infos) + 1];
        const OptionInfo *info;
        bool given[ELEMENTSOF(infos)] = {};
        const Verb *verb;
        size_t i;
        int c, r;

        make_getopt_tables(options, letters);
        argc = split_command(argc, argv, a);
        while ((c = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
                info = c == '?' ? NULL : find_option(c);
                if (!info)
                        return usage_error();
                given[info - infos] = true;
                r = take_option(info, optarg, a);
                if (r != STATUS_OK)
                        return r;
        }

        if (a->version) {
                (void) puts("msharectl " VERSION);
                return STATUS_OK;
        }
        verb = optind < argc ? verb_find(verbs, argv[optind]) : verbs;
        if (!verb) {
                complain("There is no command '%s'", argv[optind]);
                return usage_error();
        }
        if (a->help) {
                help_print(verbs, optind < argc ? verb : NULL);
                return STATUS_OK;
        }
        for (i = 0; i < ELEMENTSOF(infos); i++)
                if (given[i] && !option_is_for(infos + i, verb->name)) {
                        complain("%s has no option --%s", verb->name, infos[i].name);
                        return usage_error();
                }

        r = check_place(verb, a);
        if (r != STATUS_OK)
                return r;

        a->names = argv + optind + 1;
        a->n_names = optind < argc ? argc - optind - 1 : 0;
        *ret_verb = verb;
        r = check_arguments(verb, a);
        return r == STATUS_OK ? -1 : r;
}

void arguments_done(Arguments *a) {
        free(a->properties);
        a->properties = NULL;
}
