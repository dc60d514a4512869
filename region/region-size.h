/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/* Takes "postgresql:VERSION/CLUSTER" apart; the cluster's name points into it. -EINVAL if it is not of that form. */
int region_size_split(const char *server, uint32_t *ret_version, const char **ret_cluster);

/*
 * Runs the program of that server to find out how much shared memory the server will need, in bytes. It runs as uid or, if that
 * is root, as the owner of the server's configuration; gid matters only for a user without a name. Waits for the program.
 * Returns 0, or negative errno after it has printed the error to standard error.
 */
int region_size_ask(const char *server, uint32_t uid, uint32_t gid, uint64_t *ret);
