/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TRACEFS_PATH "/sys/kernel/tracing"

typedef enum Counter {
        COUNTER_FAULTS,
        COUNTER_FLUSHES,
        _COUNTER_MAX,
} Counter;

/*
 * Hits of the kernel's tracepoints for one region, on all CPUs, since the counters were opened. The kernel only counts.
 * It records nothing, and stops when the counters are closed.
 */
typedef struct Counters {
        int *fds; /* n_cpus for each counter; -1: the CPU is offline */
        size_t n_cpus;
} Counters;

/*
 * tracefs is the path at which tracefs is mounted. Does not block. Close *ret with counters_close(). Errors:
 * -EACCES or -EPERM: the caller has no permission; -ENOENT: the kernel has no such tracepoints, or tracefs is not
 * mounted; -EINVAL: invalid region name; -EMFILE: too many descriptors for these CPUs. On failure nothing stays open.
 */
int counters_open(const char *tracefs, const char *region, Counters *ret);
/* Hits so far, by Counter. 0 or negative errno. */
int counters_read(const Counters *c, uint64_t ret[static _COUNTER_MAX]);
void counters_close(Counters *c);
