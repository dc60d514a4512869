/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The program that mshare-region@NAME.service runs, as root: a client of the broker that reads regions.d/NAME.conf. This file
 * reads the command line. The program is linked with basic/, model/, and kernel/populate.c, kernel-ops.c and kernel-text.c of
 * the broker, and knows nothing else of it.
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/util.h"
#include "region-reload.h"
#include "region-unit.h"

static int help(void) {
        (void) printf("mshare-region [OPTION...] COMMAND NAME\n\n"
                      "Creates and removes the region that regions.d/NAME.conf describes.\n\n"
                      "  run NAME      Create the region and wait until it is removed\n"
                      "  start NAME    Create it and exit\n"
                      "  stop NAME     Remove it\n"
                      "  reload NAME   Set the mode, owner and size that the file has now\n\n"
                      "  -h --help     Show this text\n"
                      "     --version  Show the version\n\n"
                      "mshare-region@NAME.service runs this program. See mshare-region@.service(8).\n");
        return EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        enum { ARG_VERSION = 256 };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                {},
        };
        static const struct {
                const char *name;
                int (*run)(const char *name);
        } commands[] = {
                { "run", region_run },
                { "start", region_start },
                { "stop", region_stop },
                { "reload", region_reload },
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        return help();
                case ARG_VERSION:
                        (void) printf("mshare-region " MSHARE_VERSION "\n");
                        return EXIT_SUCCESS;
                default:
                        return 2;
                }
        if (argc - optind != 2) {
                (void) fprintf(stderr,
                               "mshare-region: expected a command and the name of a region, got %d argument%s\n",
                               argc - optind, argc - optind == 1 ? "" : "s");
                return 2;
        }
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                if (streq(argv[optind], commands[i].name))
                        return commands[i].run(argv[optind + 1]);
        (void) fprintf(stderr, "Invalid command '%s': expected run, start, stop or reload.\n", argv[optind]);
        return 2;
}
