/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The current figures of a region, from its file's fdinfo. */
typedef struct KernelUsage {
        uint64_t sharers, writers; /* all sharers if the kernel does not report writers */
        uint64_t resident, pgtables; /* bytes */
} KernelUsage;

/* Reads the mshare- lines of an fdinfo text. -EBADMSG if one is missing or is not a number. */
int kernel_parse_fdinfo(const char *text, KernelUsage *ret);
/* Whether the text says that the region is read-only for everyone. False for a kernel that does not report this. */
bool kernel_fdinfo_is_read_only(const char *text);
/* Reads /proc/meminfo: MemAvailable and SwapFree together, and SwapFree, in bytes. -EBADMSG if they are not there. */
int kernel_parse_meminfo(const char *text, uint64_t *ret, uint64_t *ret_swap);
/*
 * Reads /sys/devices/system/node/nodeN/meminfo: free memory and cached files, in bytes. That is what is available there without
 * swapping. -EBADMSG if they are not there.
 */
int kernel_parse_node_meminfo(const char *text, uint64_t *ret);
