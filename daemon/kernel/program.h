/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The file of this program, for the donor to be started from. Static. Defined once per program: see program.c. */
const char *program_path(void);
