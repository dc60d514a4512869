/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the libraries share: regions and clients of the fake broker. */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* A region on the fake broker; options may be NULL or one pair of strings. */
void make_region(const char *name, uint64_t size, const char *option, const char *value);
void drop_region(const char *name);
/* The number of clients that the broker counts; waits up to two seconds for the expected number. */
void assert_clients(const char *name, unsigned int wanted);
/* The number of open file descriptors of this process, without the helpers' bus connections. */
unsigned int count_fds(void);
/* Wait for a child and give its exit status; -1 if it was killed. */
int wait_child(pid_t pid);
