/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the preload library share: servers, and what is expected of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus-helpers.h"

#define MIB ((size_t) 1 << 20)
#define BIG (64 * MIB)
#define WINDOW_BASE UINT64_C(0x200000000000)

/* In a server: any failure ends it, with the line as the reason on its stderr. */
#define CHECK(condition)                                                                                               \
        do {                                                                                                           \
                if (!(condition)) {                                                                                    \
                        (void) dprintf(2, "line %d: %s (errno %d)\n", __LINE__, #condition, errno);                    \
                        _exit(100);                                                                                    \
                }                                                                                                      \
        } while (0)

char *map_shared(size_t size, int more);
bool in_region(const void *p);
bool is_zero(const char *p, size_t size);

/* Runs server() with these variables; returns its exit status and what it wrote to stderr. */
int run_server(void (*server)(void), const char *region, const char *fallback, const char *min_size, char **ret_stderr);

/* It works, and the library reports that many placements of memory, and nothing else. */
void expect(void (*server)(void), const char *region, const char *min_size, unsigned int placed);

/* One line of the library that contains this part and has this end. */
void assert_sentence(const char *text, const char *part, const char *ending);

/*
 * A first server in region "r", which waits until its pipe is closed. It may be an orphan of the process that mapped.
 */
pid_t start_first(int *ret_go, bool orphan);

/* The path of this program, once begin_as_server() has been called. */
extern char self[4096];

/*
 * To be called first in main(). Tests execute this program as a server, as "PROGRAM WHAT" or as "nginx -t". For such a
 * server it returns the exit status, and for the test program itself -1.
 */
int begin_as_server(int argc, char *argv[]);
