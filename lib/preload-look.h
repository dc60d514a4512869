/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether this program only checks its configuration, as "nginx -t" does. Such a command maps what the server would map, beside
 * the server and in the same environment. It must neither wait for the region nor clear it. preload-look.c has the list of
 * programs and switches.
 */
bool preload_only_looks(void);

/*
 * The size of the largest writable shared mapping of memory in this process, in bytes; 0 if there is none or /proc cannot be
 * read. Mappings that were made without this library count, too. Mappings of files, and therefore regions, do not.
 */
size_t preload_largest_shared(void);

/* As preload_only_looks(), for a command line: its arguments, each followed by a zero byte. For tests. */
bool preload_command_looks(const char *arguments, unsigned long size);
