/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_PROPERTIES_H
#define MSHARECTL_PROPERTIES_H

#include "msharectl.h"

/* A property of a basic type: its number, its string, and its value in JSON. Others are left out. */
struct property {
        char *name;
        char type;       /* as in a D-Bus signature */
        uint64_t number; /* b, y, q, u, t */
        double real;     /* d */
        char *string;    /* s, o */
        char *json;
        bool shown; /* for the caller */
};

struct properties {
        struct property *list;
        size_t n;
};

void properties_done(struct properties *p);

/* All that the object tells of the interface. Prints what goes wrong; returns an exit status. */
int properties_get(sd_bus *bus,
                   const char *path,
                   const char *interface,
                   const struct arguments *a,
                   const char *what,
                   struct properties *ret);

/* The property, marked as shown, or NULL. */
struct property *properties_find(struct properties *p, const char *name);
/* Its number or string; 0 or "" if there is none such. */
uint64_t properties_number(struct properties *p, const char *name);
const char *properties_string(struct properties *p, const char *name);

/* The whole as one JSON object and a line feed. Returns an exit status. */
int properties_print_json(const struct properties *p, enum json_mode mode);

#endif
