/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Programs that a server starts must not use its region: an archiver that maps 64 MiB would wait for the region and then get no
 * memory. So once a process has requested memory as a server does, MSHARE_REGION and this library are removed from its
 * environment, and MSHARE_TAKEN=PID:START:REGION names the process that has the region. If the server executes a program in its
 * own process, as uWSGI does when it reloads, that program gets them back: see preload-exec.c.
 */

/*
 * Changes the environment as above. It is changed in place, because setenv() may free what other threads are reading. mark is
 * the value of MSHARE_TAKEN, or NULL for one that names this process. Returns false without memory; nothing has changed then.
 */
bool preload_env_settle(const char *region, const char *mark);

/*
 * Names this process in the mark, instead of the one that called preload_env_settle(), from which this one was forked. False
 * without memory.
 */
bool preload_env_mark(const char *region);

/* Whether the environment says that a process other than this one took that region. *ret_pid is its PID. */
bool preload_env_taken_by_other(const char *region, int *ret_pid);

/* What preload_env_restore() and preload_env_conceal() need: entries of the array, and bytes of text. */
typedef struct PreloadEnvNeed {
        size_t entries, text;
} PreloadEnvNeed;

PreloadEnvNeed preload_env_measure(char *const envp[]);

/*
 * Writes a copy of envp with everything that preload_env_settle() removed, and with the mark if `mark`. Uses only the caller's
 * memory, because it runs between fork and exec. Must not be called before preload_env_settle().
 */
void preload_env_restore(char *const envp[], char *entries[], char *text, bool mark);

/*
 * Whether envp still has the region that preload_env_settle() removed: then it is a copy from before that, such as Python's
 * os.environ.
 */
bool preload_env_is_earlier(char *const envp[]);
/* Whether envp has the mark in place of the region. */
bool preload_env_is_marked(char *const envp[]);
/* Writes a copy of envp without the region and the library. Otherwise like preload_env_restore(). */
void preload_env_conceal(char *const envp[], char *entries[], char *text);
