/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "arguments.h"

/* One entry of a list: of an access list, or of the statistics of calls. */
typedef struct PropertyEntry {
        char *name;
        uint64_t numbers[2];
} PropertyEntry;

/*
 * A property of a basic type, or a list: its number, its string, and its value in JSON. Properties of other types are left out.
 */
typedef struct Property {
        char *name;
        char type; /* as in a D-Bus signature */
        uint64_t number; /* b, y, q, u, t; a: how many entries */
        double real; /* d */
        char *string; /* s, o, a */
        char *json;
        PropertyEntry *entries; /* a: number says how many */
        bool shown; /* for the caller */
} Property;

typedef struct Properties {
        Property *list;
        size_t n;
} Properties;

void properties_done(Properties *p);

/* Reads a{sv} at the message's position. 0 or negative errno. */
int properties_read(sd_bus_message *m, Properties *ret);
/* All properties of the object in the interface. Prints errors; returns an exit status. */
int properties_get(sd_bus *bus, const char *path, const char *interface, const Arguments *a, const char *what,
                   Properties *ret);

/* The property, marked as shown, or NULL. */
Property *properties_find(Properties *p, const char *name);
/* The number or string of the property; 0 or "" if there is no such property. */
uint64_t properties_number(Properties *p, const char *name);
const char *properties_string(Properties *p, const char *name);

/*
 * Keeps only the properties that a->properties names, or all if it names none. Prints an error if one does not exist; returns
 * an exit status.
 */
int properties_select(Properties *p, const Arguments *a);
/* Prints the value alone, as "show" does. Returns an exit status. */
int property_print_value(const Property *p);
/* Prints all as one JSON object and a line feed. Returns an exit status. */
int properties_print_json(const Properties *p, JsonMode mode);
