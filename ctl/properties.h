/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef MSHARECTL_PROPERTIES_H
#define MSHARECTL_PROPERTIES_H

#include "msharectl.h"

/* A property of a basic type, or an access list: its number, its string, and its value in JSON. Others are left out. */
struct property {
        char *name;
        char type; /* as in a D-Bus signature */
        uint64_t number; /* b, y, q, u, t; a: how many entries */
        double real; /* d */
        char *string; /* s, o, a */
        char *json;
        bool shown; /* for the caller */
};

struct properties {
        struct property *list;
        size_t n;
};

void properties_done(struct properties *p);

/* a{sv}. 0, or negative errno. */
int properties_read(sd_bus_message *m, struct properties *ret);
/* All that the object tells of the interface. Prints what goes wrong; returns an exit status. */
int properties_get(sd_bus *bus, const char *path, const char *interface, const struct arguments *a, const char *what,
                   struct properties *ret);

/* The property, marked as shown, or NULL. */
struct property *properties_find(struct properties *p, const char *name);
/* Its number or string; 0 or "" if there is none such. */
uint64_t properties_number(struct properties *p, const char *name);
const char *properties_string(struct properties *p, const char *name);

/* Keep those that a->properties names, or all if it names none. Says which there is not; returns an exit status. */
int properties_select(struct properties *p, const struct arguments *a);
/* The value alone, as "show" has it. Returns an exit status. */
int property_print_value(const struct property *p);
/* The whole as one JSON object and a line feed. Returns an exit status. */
int properties_print_json(const struct properties *p, enum json_mode mode);

#endif
