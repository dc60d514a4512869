/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "json.h"
#include "macro.h"

/* Documented in msharectl(1): scripts rely on them. */
typedef enum ExitStatus {
        STATUS_OK = 0,
        STATUS_FAILED = 1,
        STATUS_USAGE = 2,
        STATUS_NO_REGION = 3,
        STATUS_DENIED = 4,
        STATUS_NO_BROKER = 5,
        STATUS_UNSUPPORTED = 6,
        /* Only for "run". Its other statuses are those of the command, as with env(1) and nohup(1). */
        STATUS_RUN_FAILED = 125,
        STATUS_RUN_CANNOT = 126,
        STATUS_RUN_NOT_FOUND = 127,
} ExitStatus;

/* The command line, as parsed; strings point into argv. */
typedef struct Arguments {
        JsonMode json;
        bool pager, legend, ask_password, quiet;

        char **names; /* the verb's arguments */
        int n_names;
        char **command; /* the words after "--", NULL-terminated; NULL without "--" */

        const char *mode, *owner, *backing, *lifetime, *linger, *address, *hugepages, *numa, *label, *file;
        const char *maximum;
        const char *fallback, *min_size, *sort, *wait, *output, *delay, *iterations, *host, *machine;
        bool populate, force, batch, addresses, sharers, value, help, version;
        const char **properties; /* the requested properties; none: all */
        size_t n_properties;
} Arguments;

/* The verbs: each prints its own errors and returns the exit status. */
int verb_check(const Arguments *a);
int verb_chmod(const Arguments *a);
int verb_chown(const Arguments *a);
int verb_clients(const Arguments *a);
int verb_create(const Arguments *a);
int verb_list(const Arguments *a);
int verb_maps(const Arguments *a);
int verb_metrics(const Arguments *a);
int verb_monitor(const Arguments *a);
int verb_remove(const Arguments *a);
int verb_resize(const Arguments *a);
int verb_run(const Arguments *a);
int verb_show(const Arguments *a);
int verb_status(const Arguments *a);
int verb_top(const Arguments *a);

/* Prints "msharectl: " and the sentence, which has no full stop, to standard error. */
void complain(const char *format, ...) _printf_(1, 2);
