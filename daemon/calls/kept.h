/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

/*
 * Calls that are kept for a while: until the bus has identified their callers, until they have their turn, or until polkit or a
 * donor has answered. What a bus delivers for a caller may have 128 MiB and 16 descriptors, even if the method takes no
 * arguments: there may be unknown header fields, and descriptors that no argument mentions. So a copy is kept, with only what
 * can be read in the message. It is small, and its answer goes to the same caller.
 */

/* For the path, the names and the arguments of a call. No method needs more than half of this. */
#define KEPT_TEXT_MAX ((size_t) 8192)
/* About what a copy needs besides the text. */
#define KEPT_OVERHEAD ((size_t) 1024)
/* No method takes more descriptors than this. */
#define KEPT_FDS_MAX 1

typedef struct Kept {
        sd_bus_message *m;
        size_t bytes; /* of memory, at most KEPT_TEXT_MAX + KEPT_OVERHEAD */
        unsigned n_fds; /* that came with the call and are open */
} Kept;

/*
 * Copies m. 0, or negative errno, with *error set (LimitExceeded) if the call is too large to be kept. m can be read from its
 * beginning afterwards.
 */
int kept_new(sd_bus_message *m, Kept *ret, sd_bus_error *error);
void kept_done(Kept *kept);

/* A copy without arguments, which can only be answered; to be unreferenced. NULL without memory. */
sd_bus_message *kept_head(sd_bus_message *m);
