/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdio.h>

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT, /* one line */
        JSON_PRETTY, /* indented */
} JsonMode;

/* A name, and its value as JSON text. */
typedef struct JsonMember {
        const char *key;
        const char *value;
} JsonMember;

/* The string as a JSON string, quotes included, to be freed; NULL without memory. s must be UTF-8. */
char *json_string(const char *s);

/* One object, without a line feed at its end; depth counts the objects and arrays around it. */
void json_print_object(FILE *f, JsonMode mode, unsigned int depth, const JsonMember *members, size_t n);
