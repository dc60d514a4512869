/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Prints tables for people and, as JSON, for programs. Not libsmartcols: its cells have one value, while a size is "16M" for
 * people and 16777216 for programs, so JSON would need a second table. Its JSON is an object that is named after the table, not
 * an array as busctl and this command print it. And it truncates without a mark, so that a truncated name looks like another
 * region's.
 */

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "format.h"
#include "pager.h"
#include "table.h"
#include "util.h"

#define COLUMN_MIN 8
#define ELLIPSIS "..."

typedef struct Cell {
        char *text;
        char *json;
} Cell;

struct Table {
        const Column *columns;
        size_t n_columns;
        Cell *cells;
        size_t n_cells;
};

int table_new(const Column *columns, size_t n_columns, Table **ret) {
        Table *t;

        t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        t->columns = columns;
        t->n_columns = n_columns;
        *ret = t;
        return 0;
}

Table *table_free(Table *t) {
        size_t i;

        if (!t)
                return NULL;

        for (i = 0; i < t->n_cells; i++) {
                free(t->cells[i].text);
                free(t->cells[i].json);
        }
        free(t->cells);
        free(t);
        return NULL;
}

/* Takes both strings, even on failure. */
static int add(Table *t, char *text, char *json) {
        Cell *cells;

        cells = reallocarray(t->cells, t->n_cells + 1, sizeof(*cells));
        if (cells)
                t->cells = cells;
        if (!cells || !text || !json) {
                free(text);
                free(json);
                return -ENOMEM;
        }
        t->cells[t->n_cells++] = (Cell){ .text = text, .json = json };
        return 0;
}

int table_add_string(Table *t, const char *s) {
        return add(t, s && s[0] != '\0' ? format_printable(s) : strdup("-"), s ? json_string(s) : strdup("null"));
}

int table_add_number(Table *t, uint64_t n, const char *shown) {
        char buf[32];

        (void) snprintf(buf, sizeof(buf), "%" PRIu64, n);
        return add(t, strdup(shown ? shown : buf), strdup(buf));
}

int table_add_value(Table *t, const char *text, const char *json) {
        return add(t, strdup(text), strdup(json));
}

int table_add_null(Table *t) {
        return add(t, strdup("-"), strdup("null"));
}

/* Width in columns on the screen; in bytes if the locale does not know it. */
static size_t width_of(const char *s) {
        size_t n = 0, k, left = strlen(s);
        mbstate_t state = {};
        wchar_t wc;
        int w;

        while (left > 0) {
                k = mbrtowc(&wc, s, left, &state);
                if (k == 0 || k > left)
                        return n + left;
                w = wcwidth(wc);
                n += w > 0 ? (size_t) w : 0;
                s += k;
                left -= k;
        }
        return n;
}

static void print_cell(const char *s, size_t width, bool right, bool last) {
        size_t have = width_of(s), n = 0, k, left = strlen(s);
        mbstate_t state = {};
        wchar_t wc;
        const char *p = s;
        int w;

        if (have <= width) {
                k = last && !right ? 0 : width - have;
                (void) printf("%*s%s%*s", right ? (int) k : 0, "", s, right ? 0 : (int) k, "");
                return;
        }

        /* Truncate at the end of a character. */
        while (left > 0) {
                k = mbrtowc(&wc, p, left, &state);
                if (k == 0 || k > left)
                        k = 1;
                w = k > 1 ? wcwidth(wc) : 1;
                if (n + (w > 0 ? (size_t) w : 0) > width - strlen(ELLIPSIS))
                        break;
                n += w > 0 ? (size_t) w : 0;
                p += k;
                left -= k;
        }
        (void) printf("%.*s%s%*s", (int) (p - s), s, ELLIPSIS, last ? 0 : (int) (width - n - strlen(ELLIPSIS)), "");
}

static void fit_terminal(size_t *widths, const Table *t) {
        struct winsize ws;
        size_t total, i, widest;

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0)
                return;

        for (;;) {
                total = 0;
                widest = 0;
                for (i = 0; i < t->n_columns; i++) {
                        if (t->columns[i].flags & COLUMN_JSON_ONLY)
                                continue;
                        total += widths[i] + 1;
                        if (!(t->columns[i].flags & COLUMN_RIGHT) &&
                            (t->columns[widest].flags & COLUMN_RIGHT || widths[i] > widths[widest]))
                                widest = i;
                }
                if (total - 1 <= ws.ws_col || widths[widest] <= COLUMN_MIN)
                        return;
                widths[widest]--;
        }
}

static void print_header(const char *name, size_t width, bool right, bool last) {
        char buf[64];
        size_t i;

        for (i = 0; i < sizeof(buf) - 1 && name[i]; i++)
                buf[i] = (char) toupper((unsigned char) name[i]);
        buf[i] = '\0';
        print_cell(buf, width, right, last);
}

static const char *title(const Column *column) {
        return column->title ?: column->key;
}

static int print_text(const Table *t, const Arguments *a, const char *noun) {
        _cleanup_(freep) size_t *widths = NULL;
        size_t rows = t->n_cells / t->n_columns, last = 0, row, i, w;

        widths = calloc(t->n_columns, sizeof(*widths));
        if (!widths)
                return -ENOMEM;
        for (i = 0; i < t->n_columns; i++) {
                if (!(t->columns[i].flags & COLUMN_JSON_ONLY))
                        last = i;
                widths[i] = a->legend ? strlen(title(t->columns + i)) : 0;
        }
        for (i = 0; i < t->n_cells; i++) {
                w = width_of(t->cells[i].text);
                if (w > widths[i % t->n_columns])
                        widths[i % t->n_columns] = w;
        }
        fit_terminal(widths, t);

        for (row = a->legend && rows > 0 ? 0 : 1; row <= rows; row++)
                for (i = 0; i < t->n_columns; i++) {
                        bool right = t->columns[i].flags & COLUMN_RIGHT;

                        if (t->columns[i].flags & COLUMN_JSON_ONLY)
                                continue;
                        if (row == 0)
                                print_header(title(t->columns + i), widths[i], right, i == last);
                        else
                                print_cell(t->cells[(row - 1) * t->n_columns + i].text, widths[i], right, i == last);
                        (void) putchar(i == last ? '\n' : ' ');
                }

        if (a->legend && noun)
                (void) printf("%s%zu %s%s listed.\n", rows > 0 ? "\n" : "", rows, noun, rows == 1 ? "" : "s");
        return 0;
}

static int print_json(const Table *t, JsonMode mode) {
        _cleanup_(freep) JsonMember *members = NULL;
        size_t rows = t->n_cells / t->n_columns, row, i, n;

        members = calloc(t->n_columns, sizeof(*members));
        if (!members)
                return -ENOMEM;

        (void) putchar('[');
        for (row = 0; row < rows; row++) {
                n = 0;
                for (i = 0; i < t->n_columns; i++)
                        if (!(t->columns[i].flags & COLUMN_TEXT_ONLY))
                                members[n++] = (JsonMember){
                                        .key = t->columns[i].key,
                                        .value = t->cells[row * t->n_columns + i].json,
                                };
                (void) printf("%s%s", row > 0 ? "," : "", mode == JSON_PRETTY ? "\n        " : "");
                json_print_object(stdout, mode, 1, members, n);
        }
        (void) printf("%s]\n", mode == JSON_PRETTY && rows > 0 ? "\n" : "");
        return 0;
}

int table_print(Table *t, const Arguments *a, const char *noun) {
        _cleanup_(pager_close) Pager pager = PAGER_NONE;

        if (a->json != JSON_OFF)
                return print_json(t, a->json);

        pager_open(&pager, a->pager);
        return print_text(t, a, noun);
}
