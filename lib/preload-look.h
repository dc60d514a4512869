/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_PRELOAD_LOOK_H
#define MSHARE_PRELOAD_LOOK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether this program only checks its configuration, as "nginx -t" does. It maps what the server would map, runs beside the server
 * with the server's environment, and must neither wait for the region nor clear it. Decided by a list of programs and their
 * switches: see preload-look.c.
 */
bool preload_only_looks(void);

/*
 * The size of the largest writable shared mapping of memory in this process, in bytes; 0 if there is none or /proc cannot be read. It
 * counts what was mapped past this library, too. Mappings of files, and so of regions, do not count.
 */
size_t preload_largest_shared(void);

/* The same as preload_only_looks(), of a command line, its arguments one after the other with a zero byte behind each. For tests. */
bool preload_command_looks(const char *arguments, unsigned long size);

#endif
