/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

/*
 * Permission bits on the command line, in region files and in state files: octal, 0 to 0777. Blanks, signs and trailing text are
 * refused. Returns 0, -EINVAL (not of that form) or -ERANGE (too large); *ret is written on success only.
 */
int parse_mode(const char *s, mode_t *ret);
