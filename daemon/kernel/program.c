/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Which file this program is, for the donor to be started from. The tests have another answer (tests/daemon/program-double.c).
 */

#include "kernel/program.h"

/* Not by its path: after an upgrade that would be another version. */
const char *program_path(void) {
        return "/proc/self/exe";
}
