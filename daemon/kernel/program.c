/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The path of this program, from which the broker starts the donor. Tests have another: tests/daemon/program-double.c. */

#include "kernel/program.h"

/* Not the path in the file system: after an upgrade another version is there. */
const char *program_path(void) {
        return "/proc/self/exe";
}
