/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

#include "kernel/program.h"

/* Under valgrind /proc/self/exe is valgrind. */
const char *program_path(void) {
        return getenv("MSHARED_TEST_EXECUTABLE") ?: "/proc/self/exe";
}
