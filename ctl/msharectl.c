/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "msharectl.h"
#include "util.h"

#define FOR_RUN 1U
#define FOR_CREATE 2U
#define FOR_REMOVE 4U

struct verb {
        const char *name;
        const char *arguments;
        const char *help;
        int min, max; /* arguments; max -1: any number */
        unsigned int options;
        int (*function)(const struct arguments *a);
};

static const struct verb verbs[] = {
        {"list", "", "List regions (this is what happens without a command)", 0, 0, 0, verb_list},
        {"status", "[NAME...]", "Show the broker, or regions", 0, -1, 0, verb_status},
        {"create", "NAME SIZE", "Create a region", 2, 2, FOR_CREATE, verb_create},
        {"remove", "NAME...", "Remove regions", 1, -1, FOR_REMOVE, verb_remove},
        {"chmod", "MODE NAME...", "Change who may attach", 2, -1, 0, verb_chmod},
        {"chown", "OWNER[:GROUP] NAME...", "Change whose they are", 2, -1, 0, verb_chown},
        {"clients", "NAME", "List who holds leases on a region", 1, 1, 0, verb_clients},
        {"monitor", "[NAME...]", "Show changes as they happen", 0, -1, 0, verb_monitor},
        {"run", "NAME -- COMMAND...", "Run a server with its shared memory in a region", 1, 1, FOR_RUN, verb_run},
};

enum {
        ARG_JSON = 0x100,
        ARG_NO_PAGER,
        ARG_NO_LEGEND,
        ARG_NO_ASK_PASSWORD,
        ARG_VERSION,
        ARG_MODE,
        ARG_OWNER,
        ARG_BACKING,
        ARG_FILE,
        ARG_POPULATE,
        ARG_LIFETIME,
        ARG_LINGER,
        ARG_ADDRESS,
        ARG_HUGEPAGES,
        ARG_LABEL,
        ARG_FORCE,
        ARG_FALLBACK,
        ARG_MIN_SIZE,
};

static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, ARG_VERSION},
        {"json", required_argument, NULL, ARG_JSON},
        {"no-pager", no_argument, NULL, ARG_NO_PAGER},
        {"no-legend", no_argument, NULL, ARG_NO_LEGEND},
        {"no-ask-password", no_argument, NULL, ARG_NO_ASK_PASSWORD},
        {"quiet", no_argument, NULL, 'q'},
        {"mode", required_argument, NULL, ARG_MODE},
        {"owner", required_argument, NULL, ARG_OWNER},
        {"backing", required_argument, NULL, ARG_BACKING},
        {"file", required_argument, NULL, ARG_FILE},
        {"populate", no_argument, NULL, ARG_POPULATE},
        {"lifetime", required_argument, NULL, ARG_LIFETIME},
        {"linger", required_argument, NULL, ARG_LINGER},
        {"address", required_argument, NULL, ARG_ADDRESS},
        {"hugepages", required_argument, NULL, ARG_HUGEPAGES},
        {"label", required_argument, NULL, ARG_LABEL},
        {"force", no_argument, NULL, ARG_FORCE},
        {"fallback", required_argument, NULL, ARG_FALLBACK},
        {"min-size", required_argument, NULL, ARG_MIN_SIZE},
        {},
};

void complain(const char *format, ...) {
        _cleanup_(freep) char *text = NULL;
        va_list ap;
        int r;

        (void) fflush(stdout);
        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                text = NULL;
        /* In one piece, whoever else writes there. */
        (void) fprintf(stderr, "msharectl: %s\n", text ?: "Out of memory");
}

static int usage_error(void) {
        (void) fputs("Try msharectl --help.\n", stderr);
        return STATUS_USAGE;
}

static int print_help(void) {
        char synopsis[64];
        size_t i;

        (void) printf("msharectl [OPTIONS...] COMMAND\n\n"
                      "Regions of memory whose page tables processes share.\n\n"
                      "Commands:\n");
        for (i = 0; i < ELEMENTSOF(verbs); i++) {
                (void) snprintf(synopsis, sizeof(synopsis), "%s %s", verbs[i].name, verbs[i].arguments);
                (void) printf("  %-31s %s\n", synopsis, verbs[i].help);
        }
        (void) printf("\nOptions:\n"
                      "  -h --help                       Show this help\n"
                      "     --version                    Show the version\n"
                      "     --json=short|pretty|off      Write JSON, on one line or indented\n"
                      "     --no-pager                   Do not use a pager\n"
                      "     --no-legend                  Leave out headers and footers\n"
                      "     --no-ask-password            Fail rather than ask for a password\n"
                      "  -q --quiet                      Say nothing on success\n"
                      "\nOptions of create:\n"
                      "     --mode=MODE                  Permissions, octal (default 0600)\n"
                      "     --owner=USER[:GROUP]         Whose it is (default: yours)\n"
                      "     --backing=KIND               anonymous, memfd, hugetlb, file, empty\n"
                      "     --file=PATH                  The file of --backing=file\n"
                      "     --populate                   Fill it with memory before anybody uses it\n"
                      "     --lifetime=KIND              persistent, while-leased\n"
                      "     --linger=TIME                How long it outlives its last lease\n"
                      "     --address=0xADDRESS          Where its window is to lie\n"
                      "     --hugepages=KIND             never, advise, always\n"
                      "     --label=TEXT                 A note for people\n"
                      "\nOptions of remove:\n"
                      "     --force                      Even if it has clients, who keep their mapping\n"
                      "\nOptions of run:\n"
                      "     --fallback=yes|no            Go on without the region if it cannot be had (default no)\n"
                      "     --min-size=SIZE              Smallest mapping that goes into it (default 64M)\n"
                      "\nSee msharectl(1) for details.\n");
        return STATUS_OK;
}

static int parse_json_mode(const char *s, enum json_mode *ret) {
        if (strcmp(s, "off") == 0)
                *ret = JSON_OFF;
        else if (strcmp(s, "short") == 0)
                *ret = JSON_SHORT;
        else if (strcmp(s, "pretty") == 0)
                *ret = JSON_PRETTY;
        else {
                complain("--json=%s is neither short nor pretty nor off", s);
                return usage_error();
        }
        return STATUS_OK;
}

/* Puts the option's argument where it belongs. */
static void take_option(int c, struct arguments *a) {
        const char **place[] = {
                [0] = &a->mode,
                [ARG_OWNER - ARG_MODE] = &a->owner,
                [ARG_BACKING - ARG_MODE] = &a->backing,
                [ARG_FILE - ARG_MODE] = &a->file,
                [ARG_LIFETIME - ARG_MODE] = &a->lifetime,
                [ARG_LINGER - ARG_MODE] = &a->linger,
                [ARG_ADDRESS - ARG_MODE] = &a->address,
                [ARG_HUGEPAGES - ARG_MODE] = &a->hugepages,
                [ARG_LABEL - ARG_MODE] = &a->label,
                [ARG_FALLBACK - ARG_MODE] = &a->fallback,
                [ARG_MIN_SIZE - ARG_MODE] = &a->min_size,
        };

        switch (c) {
        case ARG_NO_PAGER:
                a->pager = false;
                break;
        case ARG_NO_LEGEND:
                a->legend = false;
                break;
        case ARG_NO_ASK_PASSWORD:
                a->ask_password = false;
                break;
        case 'q':
                a->quiet = true;
                break;
        case ARG_POPULATE:
                a->populate = true;
                break;
        case ARG_FORCE:
                a->force = true;
                break;
        default:
                *place[c - ARG_MODE] = optarg;
        }
}

/* The verb that an option is for; 0: all. */
static unsigned int option_verb(int c) {
        if (c < ARG_MODE)
                return 0;
        if (c == ARG_FORCE)
                return FOR_REMOVE;
        return c == ARG_FALLBACK || c == ARG_MIN_SIZE ? FOR_RUN : FOR_CREATE;
}

static const char *option_name(int c) {
        const struct option *o;

        for (o = options; o->name; o++)
                if (o->val == c)
                        return o->name;
        return "?";
}

static const struct verb *find_verb(const char *name) {
        size_t i;

        for (i = 0; i < ELEMENTSOF(verbs); i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return verbs + i;
        return NULL;
}

static int check_arguments(const struct verb *verb, const struct arguments *a) {
        if (a->n_names < verb->min || (verb->max >= 0 && a->n_names > verb->max)) {
                complain("%s: too %s arguments; it takes %s",
                         verb->name,
                         a->n_names < verb->min ? "few" : "many",
                         verb->arguments[0] ? verb->arguments : "none");
                return usage_error();
        }
        if ((verb->options & FOR_RUN) && (!a->command || !a->command[0])) {
                complain("run: the command is missing; it stands after \"--\"");
                return usage_error();
        }
        if (!(verb->options & FOR_RUN) && a->command) {
                complain("%s: nothing may stand after \"--\"", verb->name);
                return usage_error();
        }
        return STATUS_OK;
}

/* -1: all is parsed and *ret_verb is to be run; else the exit status. */
static int parse_arguments(int argc, char *argv[], struct arguments *a, const struct verb **ret_verb) {
        const struct verb *verb;
        unsigned int given = 0;
        int c, i, r;

        /* What follows "--" is the command's own, options and all. */
        for (i = 1; i < argc; i++)
                if (strcmp(argv[i], "--") == 0) {
                        a->command = argv + i + 1;
                        argv[i] = NULL;
                        argc = i;
                        break;
                }

        while ((c = getopt_long(argc, argv, "hq", options, NULL)) >= 0) {
                if (c == '?')
                        return usage_error();
                if (c == 'h')
                        return print_help();
                if (c == ARG_VERSION) {
                        (void) puts("msharectl " VERSION);
                        return STATUS_OK;
                }
                if (c == ARG_JSON) {
                        r = parse_json_mode(optarg, &a->json);
                        if (r != STATUS_OK)
                                return r;
                        continue;
                }
                take_option(c, a);
                if (option_verb(c) != 0)
                        given |= 1U << (c - ARG_MODE);
        }

        verb = optind < argc ? find_verb(argv[optind]) : &verbs[0];
        if (!verb) {
                complain("There is no command \"%s\"", argv[optind]);
                return usage_error();
        }
        for (c = ARG_MODE; c <= ARG_MIN_SIZE; c++)
                if ((given & (1U << (c - ARG_MODE))) && !(verb->options & option_verb(c))) {
                        complain("%s has no option --%s", verb->name, option_name(c));
                        return usage_error();
                }

        a->names = argv + optind + 1;
        a->n_names = optind < argc ? argc - optind - 1 : 0;
        *ret_verb = verb;
        r = check_arguments(verb, a);
        return r == STATUS_OK ? -1 : r;
}

int main(int argc, char *argv[]) {
        struct arguments a = {.pager = true, .legend = true, .ask_password = true};
        const struct verb *verb = NULL;
        int status;

        (void) setlocale(LC_ALL, "");
        /* Our sentences have one language, and so have the system's that end them. */
        (void) setlocale(LC_MESSAGES, "C");

        status = parse_arguments(argc, argv, &a, &verb);
        if (status < 0 && verb)
                status = verb->function(&a);

        if (fflush(stdout) != 0 && status == STATUS_OK) {
                complain("Cannot write the output: %s", strerror(xerrno()));
                return STATUS_FAILED;
        }
        return status;
}
