/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARE_PRELOAD_ENV_H
#define MSHARE_PRELOAD_ENV_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A server's region is not for the programs that it starts: an archiver that maps 64 MiB would wait for the region and
 * be refused the memory. So once it is settled where the server's memory is, MSHARE_REGION and this library go from
 * its environment, and MSHARE_TAKEN=PID:START:REGION says whose the region is. A program that the server executes in
 * its own place, as uWSGI does when it reloads, gets them back: see preload-exec.c.
 */

/*
 * Change the environment as above. In place: setenv() may free what other threads are reading. False without memory:
 * nothing has changed then.
 */
bool preload_env_settle(const char *region);

/* The environment says that another process than this one took that region. *ret_pid is its number. */
bool preload_env_taken_by_other(const char *region, int *ret_pid);

/* What preload_env_restore() needs: entries of the array, and bytes of text. */
struct preload_env_need {
        size_t entries, text;
};

struct preload_env_need preload_env_measure(char *const envp[]);

/*
 * envp with all that preload_env_settle() took away, and with the mark. Uses no memory but what the caller gives,
 * for it runs between fork and exec. Before preload_env_settle() it must not be called.
 */
void preload_env_restore(char *const envp[], char *entries[], char *text);

#endif
