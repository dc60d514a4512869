/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The path of this program, from which the donor is started. Static. Defined once per program: see program.c. */
const char *program_path(void);
