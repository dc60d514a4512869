/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input up to its first NUL, as text to be freed. No input at all comes as a null pointer. */
static inline char *fuzz_text(const uint8_t *data, size_t size) {
        return size > 0 ? strndup((const char *) data, size) : strdup("");
}
