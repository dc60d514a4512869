/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_PRELOAD_ENV_H
#define MSHARE_PRELOAD_ENV_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Programs that a server starts must not use its region: an archiver that maps 64 MiB would wait for the region and then get no
 * memory. So once a process has requested memory as a server does, MSHARE_REGION and this library are removed from its environment, and
 * MSHARE_TAKEN=PID:START:REGION names the process that has the region. A program that the server executes in its own process, as
 * uWSGI does when it reloads, gets them back: see preload-exec.c.
 */

/*
 * Change the environment as above. In place, because setenv() may free what other threads are reading. mark is the value of
 * MSHARE_TAKEN, or NULL for one that names this process. Returns false without memory; nothing has changed then.
 */
bool preload_env_settle(const char *region, const char *mark);

/* Names this process instead of the one that called preload_env_settle(), from which it was forked. False without memory. */
bool preload_env_mark(const char *region);

/* The environment says that another process than this one took that region. *ret_pid is its number. */
bool preload_env_taken_by_other(const char *region, int *ret_pid);

/* What preload_env_restore() needs: entries of the array, and bytes of text. */
typedef struct PreloadEnvNeed {
        size_t entries, text;
} PreloadEnvNeed;

PreloadEnvNeed preload_env_measure(char *const envp[]);

/*
 * A copy of envp with everything that preload_env_settle() removed, and with the mark if `mark`. Uses only the caller's memory, because it
 * runs between fork and exec. Must not be called before preload_env_settle().
 */
void preload_env_restore(char *const envp[], char *entries[], char *text, bool mark);

/* Whether envp still has the region that preload_env_settle() removed: a copy that was made before, as Python's os.environ is. */
bool preload_env_is_earlier(char *const envp[]);
/* Whether envp has the mark in place of the region. */
bool preload_env_is_marked(char *const envp[]);
/* A copy of envp from which the region and the library are removed. Otherwise like preload_env_restore(). */
void preload_env_conceal(char *const envp[], char *entries[], char *text);

#endif
