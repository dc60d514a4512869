/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "macro.h"

/* Documented in msharectl(1): scripts rely on them. */
typedef enum ExitStatus {
        STATUS_OK = 0,
        STATUS_FAILED = 1,
        STATUS_USAGE = 2,
        STATUS_NO_REGION = 3,
        STATUS_DENIED = 4,
        STATUS_NO_BROKER = 5,
        STATUS_UNSUPPORTED = 6,
        /* Only for "run". Its other statuses are those of the command, as with env(1) and nohup(1). */
        STATUS_RUN_FAILED = 125,
        STATUS_RUN_CANNOT = 126,
        STATUS_RUN_NOT_FOUND = 127,
} ExitStatus;

/* Prints "msharectl: " and the sentence, which has no full stop, to standard error. */
void complain(const char *format, ...) _printf_(1, 2);
