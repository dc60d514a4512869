/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "arguments.h"
#include "macro.h"

typedef enum ColumnFlags {
        COLUMN_RIGHT = 1, /* numbers */
        COLUMN_TEXT_ONLY = 2, /* for people */
        COLUMN_JSON_ONLY = 4, /* for programs */
} ColumnFlags;

typedef struct Column {
        const char *key; /* the JSON key; in capitals, the header */
        unsigned int flags;
        const char *title; /* the header, if it is not the key; or NULL */
} Column;

/* Rows of cells, each with a form for people and one for programs. columns must outlive the table. */
typedef struct Table Table;

int table_new(const Column *columns, size_t n_columns, Table **ret);
Table *table_free(Table *t);
DEFINE_CLEANUP(Table, table_free)

/*
 * These add the next cell, left to right, top to bottom. For people, an empty or missing string is "-"; for programs, it is ""
 * or null. A number may be shown to people in another form. 0 or -ENOMEM.
 */
int table_add_string(Table *t, const char *s);
int table_add_number(Table *t, uint64_t n, const char *shown);
/* Both forms as they are. */
int table_add_value(Table *t, const char *text, const char *json);
int table_add_null(Table *t);

/*
 * Prints the table in the form that the arguments request. noun is for the footer ("3 regions listed."); NULL: no footer. 0 or
 * -ENOMEM.
 */
int table_print(Table *t, const Arguments *a, const char *noun);
