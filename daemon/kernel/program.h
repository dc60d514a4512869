/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The path of this program, from which the donor is started; static. Each program defines it once: see program.c. */
const char *program_path(void);
