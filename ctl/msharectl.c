/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command: main(), and the table of its verbs, each of which has a file of its own. Only the verbs use the bus. */

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "util.h"
#include "verbs.h"

static int verb_help(const Arguments *a);

static const Verb verbs[] = {
        { "list", "", "List regions (the default command)", 0, 0, false, verb_list },
        { "status", "[NAME...]", "Show the broker, or regions", 0, -1, false, verb_status },
        { "show", "[NAME...]", "Show properties, for programs", 0, -1, false, verb_show },
        { "top", "", "Show regions, updated continuously", 0, 0, false, verb_top },
        { "create", "NAME SIZE", "Create a region", 2, 2, false, verb_create },
        { "resize", "NAME SIZE", "Map more or less memory in a region", 2, 2, false, verb_resize },
        { "remove", "NAME...", "Remove regions", 1, -1, false, verb_remove },
        { "chmod", "MODE NAME...", "Change the permissions", 2, -1, false, verb_chmod },
        { "chown", "OWNER[:GROUP] NAME...", "Change owner and group", 2, -1, false, verb_chown },
        { "clients", "NAME", "List the clients of a region", 1, 1, false, verb_clients },
        { "maps", "NAME", "List the mappings of a region", 1, 1, false, verb_maps },
        { "check", "UNIT|PID [REGION]", "Check that a server's shared memory is in a region", 1, 2, false, verb_check },
        { "metrics", "", "Write all figures as OpenMetrics text", 0, 0, false, verb_metrics },
        { "monitor", "[NAME...]", "Show changes as they happen", 0, -1, false, verb_monitor },
        { "run", "NAME -- COMMAND...", "Run a server with its shared memory in a region", 1, 1, true, verb_run },
        { "help", "[COMMAND]", "Show this help, or that of a command", 0, 1, false, verb_help },
        {},
};

static int verb_help(const Arguments *a) {
        const Verb *verb = NULL;

        if (a->n_names > 0) {
                verb = verb_find(verbs, a->names[0]);
                if (!verb) {
                        complain("There is no command '%s'", a->names[0]);
                        return STATUS_USAGE;
                }
        }
        help_print(verbs, verb);
        return STATUS_OK;
}

int main(int argc, char *argv[]) {
        _cleanup_(arguments_done) Arguments a = { .pager = true, .legend = true, .ask_password = true };
        const Verb *verb = NULL;
        int status;

        (void) setlocale(LC_ALL, "");
        /* Our messages are English, so the system's error texts in them must be, too. */
        (void) setlocale(LC_MESSAGES, "C");

        status = options_parse(verbs, argc, argv, &a, &verb);
        if (status < 0 && verb)
                status = verb->function(&a);

        if (fflush(stdout) != 0 && status == STATUS_OK) {
                complain("Cannot write the output: %s", strerror(xerrno()));
                return STATUS_FAILED;
        }
        return status;
}
