/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "arguments.h"

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
