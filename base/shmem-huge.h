/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The directory with the kernel's settings for transparent huge pages. */
#define HUGE_SETTINGS_PATH "/sys/kernel/mm/transparent_hugepage"

/* Says what the administrator can do: a format for the path and the value of the setting. */
#define SHMEM_HUGE_DENIED_FORMAT                                                                                       \
        "it has no huge pages, because %s is '%s'; write 'advise' to that file, and memory that is touched from then " \
        "on has them"

/* The chosen word of a setting such as "always [never]", or "unknown". */
void huge_setting_read(const char *path, char *ret, size_t size);

/*
 * Whether the system gives no transparent huge pages to shared memory, even after madvise(). Then *ret_path and *ret_value are
 * the setting that denies them. dir is HUGE_SETTINGS_PATH, or another in tests. False if the settings cannot be read.
 */
bool shmem_huge_denied(const char *dir, char *ret_path, size_t path_size, char *ret_value, size_t value_size);
