/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The path of this program, from which the broker starts the donor. Tests have another: tests/daemon/program-double.c. */

#include "kernel/program.h"

/* Not by its path: after an upgrade that would be another version. */
const char *program_path(void) {
        return "/proc/self/exe";
}
