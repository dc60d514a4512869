/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>

#include "macro.h"
#include "quantity.h"

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MSEC UINT64_C(1000)

static inline uint64_t usec_now(clockid_t clock) {
        struct timespec ts;

        (void) clock_gettime(clock, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

/* Replaces *p by a copy of s. Returns 0, or -ENOMEM with *p unchanged. */
int free_and_strdup(char **p, const char *s);

/*
 * Whole-string parsers. Blanks, signs and trailing text are refused. Return 0, -EINVAL (not of that form) or
 * -ERANGE (does not fit); *ret is written on success only.
 */
int parse_u64(const char *s, unsigned base, uint64_t *ret);
int parse_u32(const char *s, unsigned base, uint32_t *ret);
int parse_bool(const char *s, bool *ret);

/*
 * Backslash and control characters become \xNN, so that any string fits on one line of a state file. The caller frees the
 * result, which is NULL without memory.
 */
char *line_escape(const char *s);
/* The reverse. *ret is freed by the caller. -EINVAL if s was not written by line_escape(), or -ENOMEM. */
int line_unescape(const char *s, char **ret);

/*
 * Reads a regular file of at most max bytes. *ret is NUL-terminated and freed by the caller; *ret_size excludes the NUL. -EFBIG
 * if the file is longer, -EBADMSG if it is not a regular file, -EILSEQ if it holds a NUL byte. May sleep.
 */
int read_file(int dirfd, const char *name, size_t max, char **ret, size_t *ret_size);
/*
 * Writes the file name in dirfd. A reader, also after a crash of the broker, sees either the old content or the new one. 0 or
 * negative errno.
 */
int write_file_atomic(int dirfd, const char *name, const char *content);

/*
 * Calls found() for each entry of a directory except "." and "..", in no particular order, until it returns something other
 * than 0. Returns that value, or 0, or negative errno. Entries may be removed meanwhile.
 */
int for_each_entry(int dirfd, int (*found)(const char *name, void *userdata), void *userdata);

/* Opens the directory name in dirfd, and creates it with that mode if it does not exist. A descriptor or negative errno. */
int open_or_make_dir(int dirfd, const char *name, mode_t mode);

/* Whether the error is a temporary local shortage, which may be gone at the next start. */
static inline bool error_is_passing(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}
