/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "arguments.h"
#include "parse.h"

/* As in parse.h, but these print an error if a word is not valid, and return an exit status. */
int parse_mode_word(const char *s, uint32_t *ret);
int parse_owner_word(const Arguments *a, const char *s, Owner *ret);
