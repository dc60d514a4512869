/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads the properties of an object on the bus, for output as text and as JSON. It does not know what they mean. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus.h"
#include "format.h"
#include "properties.h"
#include "util.h"

#define ACL "a(suu)"
#define CALLS "a(stt)"

static void property_done(Property *p) {
        if (p->type == 'a')
                for (size_t i = 0; i < p->number; i++)
                        free(p->entries[i].name);
        free(p->entries);
        free(p->name);
        free(p->string);
        free(p->json);
}

void properties_done(Properties *p) {
        size_t i;

        for (i = 0; i < p->n; i++)
                property_done(p->list + i);
        free(p->list);
        *p = (Properties){};
}

static int add_entry(Property *p, const char *name, uint64_t first, uint64_t second) {
        PropertyEntry *list = reallocarray(p->entries, p->number + 1, sizeof(*list));

        if (!list)
                return -ENOMEM;
        p->entries = list;
        list[p->number] = (PropertyEntry){ .name = strdup(name), .numbers = { first, second } };
        if (!list[p->number].name)
                return -ENOMEM;
        p->number++;
        return 0;
}

static int read_entries(sd_bus_message *m, const char *contents, Property *p) {
        bool wide = streq(contents, CALLS);
        uint64_t first = 0, second = 0;
        uint32_t u1, u2;
        const char *name;
        int r;

        p->type = 'a';
        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', contents + 1);
        while (r >= 0) {
                if (wide)
                        r = sd_bus_message_read(m, "(stt)", &name, &first, &second);
                else {
                        r = sd_bus_message_read(m, "(suu)", &name, &u1, &u2);
                        if (r > 0) {
                                first = u1;
                                second = u2;
                        }
                }
                if (r == 0)
                        break;
                if (r > 0)
                        r = add_entry(p, name, first, second);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* The entries, as words with colons and as an array of arrays. 1, or negative errno. */
static int read_list(sd_bus_message *m, const char *contents, Property *p) {
        _cleanup_(fclosep) FILE *text = NULL, *json = NULL;
        size_t text_size, json_size;
        int r;

        text = open_memstream(&p->string, &text_size);
        json = open_memstream(&p->json, &json_size);
        if (!text || !json)
                return -ENOMEM;
        r = read_entries(m, contents, p);
        if (r < 0)
                return r;
        (void) fputc('[', json);
        for (size_t i = 0; i < p->number; i++) {
                const PropertyEntry *e = p->entries + i;
                _cleanup_(freep) char *name = json_string(e->name);

                if (!name)
                        return -ENOMEM;
                (void) fprintf(text, "%s%s:%" PRIu64 ":%" PRIu64, i > 0 ? " " : "", e->name, e->numbers[0],
                               e->numbers[1]);
                (void) fprintf(json, "%s[%s,%" PRIu64 ",%" PRIu64 "]", i > 0 ? "," : "", name, e->numbers[0],
                               e->numbers[1]);
        }
        (void) fputc(']', json);
        return fflush(text) != 0 || fflush(json) != 0 ? -ENOMEM : 1;
}

/* 1: read; 0: skipped, because its type is not shown. */
static int read_value(sd_bus_message *m, Property *p) {
        const char *contents, *s;
        char buf[64];
        uint32_t u;
        uint16_t q;
        uint8_t y;
        int b, r;

        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;
        if (streq(contents, ACL) || streq(contents, CALLS))
                return read_list(m, contents, p);
        if (strlen(contents) != 1 || !strchr("sobyqutd", contents[0])) {
                r = sd_bus_message_skip(m, "v");
                return r < 0 ? r : 0;
        }

        p->type = contents[0];
        switch (p->type) {
        case 's':
        case 'o':
                r = sd_bus_message_read(m, "v", contents, &s);
                if (r < 0)
                        return r;
                p->string = strdup(s);
                p->json = json_string(s);
                return p->string && p->json ? 1 : -ENOMEM;
        case 'b':
                r = sd_bus_message_read(m, "v", contents, &b);
                p->number = r >= 0 && b;
                (void) snprintf(buf, sizeof(buf), "%s", p->number ? "true" : "false");
                break;
        case 'd':
                r = sd_bus_message_read(m, "v", contents, &p->real);
                (void) snprintf(buf, sizeof(buf), "%.17g", p->real);
                /* JSON has no word for infinity and NaN. */
                if (!(p->real - p->real == 0))
                        (void) snprintf(buf, sizeof(buf), "null");
                break;
        case 'y':
                r = sd_bus_message_read(m, "v", contents, &y);
                p->number = r >= 0 ? y : 0;
                (void) snprintf(buf, sizeof(buf), "%" PRIu64, p->number);
                break;
        case 'q':
                r = sd_bus_message_read(m, "v", contents, &q);
                p->number = r >= 0 ? q : 0;
                (void) snprintf(buf, sizeof(buf), "%" PRIu64, p->number);
                break;
        case 'u':
                r = sd_bus_message_read(m, "v", contents, &u);
                p->number = r >= 0 ? u : 0;
                (void) snprintf(buf, sizeof(buf), "%" PRIu64, p->number);
                break;
        default:
                r = sd_bus_message_read(m, "v", contents, &p->number);
                (void) snprintf(buf, sizeof(buf), "%" PRIu64, p->number);
        }
        if (r < 0)
                return r;

        p->json = strdup(buf);
        return p->json ? 1 : -ENOMEM;
}

static int read_property(sd_bus_message *m, Properties *p) {
        Property one = {}, *list;
        const char *name;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r < 0)
                return r;

        r = read_value(m, &one);
        if (r > 0) {
                one.name = strdup(name);
                list = reallocarray(p->list, p->n + 1, sizeof(*list));
                if (list)
                        p->list = list;
                if (list && one.name) {
                        p->list[p->n++] = one;
                        return 0;
                }
                r = -ENOMEM;
        }
        property_done(&one);
        return r;
}

int properties_read(sd_bus_message *m, Properties *ret) {
        _cleanup_(properties_done) Properties p = {};
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_property(m, &p);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;

        *ret = p;
        p = (Properties){};
        return 0;
}

int properties_get(sd_bus *bus, const char *path, const char *interface, const Arguments *a, const char *what,
                   Properties *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, BUS_NAME, path, "org.freedesktop.DBus.Properties", "GetAll");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", interface);
        if (r < 0)
                return bus_message_failed(what, r);

        r = bus_call(bus, m, false, a, what, &reply);
        if (r != STATUS_OK)
                return r;

        r = properties_read(reply, ret);
        return r < 0 ? bus_message_failed(what, r) : STATUS_OK;
}

Property *properties_find(Properties *p, const char *name) {
        size_t i;

        for (i = 0; i < p->n; i++)
                if (streq(p->list[i].name, name)) {
                        p->list[i].shown = true;
                        return p->list + i;
                }
        return NULL;
}

uint64_t properties_number(Properties *p, const char *name) {
        const Property *one = properties_find(p, name);

        return one ? one->number : 0;
}

const char *properties_string(Properties *p, const char *name) {
        const Property *one = properties_find(p, name);

        return one && one->string ? one->string : "";
}

static bool is_asked_for(const Arguments *a, const char *name) {
        size_t i, n = strlen(name);
        const char *p;

        for (i = 0; i < a->n_properties; i++)
                for (p = a->properties[i]; *p; p += strcspn(p, ","), p += *p == ',')
                        if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
                                return true;
        return a->n_properties == 0;
}

int properties_select(Properties *p, const Arguments *a) {
        size_t i, n = 0, k;
        const char *s;

        for (i = 0; i < a->n_properties; i++)
                for (s = a->properties[i]; *s; s += k, s += *s == ',') {
                        bool found = false;
                        size_t j;

                        k = strcspn(s, ",");
                        for (j = 0; j < p->n; j++)
                                found = found || (strncmp(p->list[j].name, s, k) == 0 && p->list[j].name[k] == '\0');
                        if (!found) {
                                complain("There is no property '%.*s'", (int) k, s);
                                return STATUS_FAILED;
                        }
                }

        for (i = 0; i < p->n; i++)
                if (is_asked_for(a, p->list[i].name))
                        p->list[n++] = p->list[i];
                else
                        property_done(p->list + i);
        p->n = n;
        return STATUS_OK;
}

int property_print_value(const Property *p) {
        _cleanup_(freep) char *text = NULL;

        switch (p->type) {
        case 's':
        case 'o':
        case 'a':
                text = format_printable(p->string ?: "");
                if (!text)
                        return bus_out_of_memory();
                (void) fputs(text, stdout);
                break;
        case 'b':
                (void) fputs(p->number ? "yes" : "no", stdout);
                break;
        case 'd':
                (void) printf("%.17g", p->real);
                break;
        default:
                if (p->type == 't' && p->number == UINT64_MAX)
                        (void) fputs("infinity", stdout);
                else
                        (void) printf("%" PRIu64, p->number);
        }
        return STATUS_OK;
}

int properties_print_json(const Properties *p, JsonMode mode) {
        _cleanup_(freep) JsonMember *members = NULL;
        size_t i;

        members = calloc(p->n + 1, sizeof(*members));
        if (!members)
                return bus_out_of_memory();
        for (i = 0; i < p->n; i++)
                members[i] = (JsonMember){ .key = p->list[i].name, .value = p->list[i].json };
        json_print_object(stdout, mode, 0, members, p->n);
        (void) putchar('\n');
        return STATUS_OK;
}
