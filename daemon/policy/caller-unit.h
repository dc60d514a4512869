/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

/*
 * The unit of a caller's process, to be freed: for logs and lists, not for decisions. NULL if it has none, if the process has
 * exited, or if the process of that number belongs to another user now: a connection may outlive the process that opened it.
 * Reads /proc, and does not block.
 */
char *caller_unit(pid_t pid, uid_t uid);
