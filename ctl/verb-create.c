/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command create: turns the options into a request to the broker, waits for the region, and warns if it gets no
 * huge pages. The broker checks the request.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bus.h"
#include "creation.h"
#include "format.h"
#include "kinds.h"
#include "numa.h"
#include "quantity.h"
#include "shmem-huge.h"
#include "util.h"
#include "verbs.h"
#include "words.h"

#define MODE_DEFAULT 0600

/* The words of the command line, as options for the broker. Sizes are in bytes, linger in microseconds. */
typedef struct Wish {
        const char *name;
        uint64_t size, maximum, address, linger;
        uint32_t mode;
        Owner owner;
        int fd;
} Wish;

static int parse_words(const Arguments *a, Wish *w) {
        NumaPolicy policy;

        w->name = a->names[0];

        if (parse_amount(a->names[1], &w->size) < 0) {
                complain("Invalid size '%s': expected " AMOUNT_FORM, a->names[1]);
                return STATUS_USAGE;
        }
        if (a->maximum && parse_amount(a->maximum, &w->maximum) < 0) {
                complain("Invalid --maximum '%s': expected " AMOUNT_FORM, a->maximum);
                return STATUS_USAGE;
        }
        if (a->address && parse_address(a->address, &w->address) < 0) {
                complain("Invalid --address '%s': expected 0x and hexadecimal digits", a->address);
                return STATUS_USAGE;
        }
        if (a->linger && parse_span(a->linger, &w->linger) < 0) {
                complain("Invalid --linger '%s': expected " SPAN_FORM, a->linger);
                return STATUS_USAGE;
        }
        if (a->linger && (!a->lifetime || lifetime_parse(a->lifetime) != LIFETIME_WHILE_LEASED)) {
                complain("--linger= requires --lifetime=while-leased");
                return STATUS_USAGE;
        }
        if (a->lifetime && lifetime_parse(a->lifetime) < 0) {
                complain("Invalid --lifetime '%s': expected one of " LIFETIME_WORDS, a->lifetime);
                return STATUS_USAGE;
        }
        if (a->hugepages && hugepages_parse(a->hugepages) < 0) {
                complain("Invalid --hugepages '%s': expected one of " HUGEPAGES_WORDS, a->hugepages);
                return STATUS_USAGE;
        }
        if (a->numa && numa_parse(a->numa, &policy) < 0) {
                complain("Invalid --numa '%s': expected " NUMA_FORM, a->numa);
                return STATUS_USAGE;
        }
        if (a->backing && backing_parse(a->backing) < 0) {
                complain("Invalid --backing '%s': expected one of " BACKING_WORDS, a->backing);
                return STATUS_USAGE;
        }
        if (!a->file != !(a->backing && backing_parse(a->backing) == BACKING_FILE)) {
                complain("--backing=file and --file=PATH require each other");
                return STATUS_USAGE;
        }
        return STATUS_OK;
}

static int append_options(sd_bus_message *m, const Arguments *a, const Wish *w) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && a->address)
                r = sd_bus_message_append(m, "{sv}", "address", "t", w->address);
        if (r >= 0 && w->owner.has_uid)
                r = sd_bus_message_append(m, "{sv}", "uid", "u", w->owner.uid);
        if (r >= 0 && w->owner.has_gid)
                r = sd_bus_message_append(m, "{sv}", "gid", "u", w->owner.gid);
        if (r >= 0 && a->backing)
                r = sd_bus_message_append(m, "{sv}", "backing", "s", a->backing);
        if (r >= 0 && w->fd >= 0)
                r = sd_bus_message_append(m, "{sv}", "fd", "h", w->fd);
        if (r >= 0 && a->populate)
                r = sd_bus_message_append(m, "{sv}", "populate", "b", 1);
        if (r >= 0 && a->maximum)
                r = sd_bus_message_append(m, "{sv}", "maximum", "t", w->maximum);
        if (r >= 0 && a->hugepages)
                r = sd_bus_message_append(m, "{sv}", "hugepages", "s", a->hugepages);
        if (r >= 0 && a->numa)
                r = sd_bus_message_append(m, "{sv}", "numa", "s", a->numa);
        if (r >= 0 && a->lifetime)
                r = sd_bus_message_append(m, "{sv}", "lifetime", "s", a->lifetime);
        if (r >= 0 && a->linger)
                r = sd_bus_message_append(m, "{sv}", "linger", "t", w->linger);
        if (r >= 0 && a->label)
                r = sd_bus_message_append(m, "{sv}", "label", "s", a->label);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int print_result(sd_bus_message *reply, const Arguments *a, const Wish *w, const char *what) {
        _cleanup_(freep) char *name_json = NULL, *object_json = NULL, *name = NULL;
        char address_json[32], length_json[32], bytes[32];
        uint64_t address, length;
        const char *object;
        int r;

        r = sd_bus_message_read(reply, "ott", &object, &address, &length);
        if (r < 0)
                return bus_message_failed(what, r);

        if (a->json == JSON_OFF) {
                name = format_printable(w->name);
                if (!name)
                        return bus_out_of_memory();
                if (!a->quiet)
                        (void) printf("Created region %s: %s at 0x%" PRIx64 ".\n", name,
                                      format_bytes(w->size, bytes, sizeof(bytes)), address);
                return STATUS_OK;
        }

        name_json = json_string(w->name);
        object_json = json_string(object);
        if (!name_json || !object_json)
                return bus_out_of_memory();
        (void) snprintf(address_json, sizeof(address_json), "%" PRIu64, address);
        (void) snprintf(length_json, sizeof(length_json), "%" PRIu64, length);
        json_print_object(stdout, a->json, 0,
                          (const JsonMember[]){
                                  { "name", name_json },
                                  { "object", object_json },
                                  { "address", address_json },
                                  { "length", length_json },
                          },
                          4);
        (void) putchar('\n');
        return STATUS_OK;
}

/* The settings are those of this machine, and do not affect hugetlbfs or a file. */
static void warn_of_huge_pages(const Arguments *a) {
        int hugepages = a->hugepages ? hugepages_parse(a->hugepages) : HUGEPAGES_DEFAULT;
        char path[128], value[32];

        if ((hugepages == HUGEPAGES_ADVISE || hugepages == HUGEPAGES_ALWAYS) && !a->host && !a->machine && !a->file &&
            shmem_huge_denied(HUGE_SETTINGS_PATH, path, sizeof(path), value, sizeof(value)))
                complain("Region %s: " SHMEM_HUGE_DENIED_FORMAT, a->names[0], path, value);
}

/* End by the same signal, so that the parent process sees it. */
static void die_of(int number) {
        (void) signal(number, SIG_DFL);
        (void) raise(number);
}

int verb_create(const Arguments *a) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(closep) int fd = -1;
        Creation creation;
        int interrupt = 0;
        Wish w = { .mode = MODE_DEFAULT, .fd = -1 };
        static const char what[] = "Cannot create the region";
        int r;

        r = parse_words(a, &w);
        if (r == STATUS_OK && a->mode)
                r = parse_mode_word(a->mode, &w.mode);
        if (r == STATUS_OK && a->owner)
                r = parse_owner_word(a, a->owner, &w.owner);
        if (r != STATUS_OK)
                return r;
        /* As in region files, the default group is that of the user. Groups of another machine are not known here. */
        if (!a->host && !a->machine && w.owner.has_uid && !w.owner.has_gid && w.owner.login_gid != UINT32_MAX) {
                w.owner.gid = w.owner.login_gid;
                w.owner.has_gid = true;
        }

        if (a->file) {
                /* Opened with the rights of the caller: the broker never opens a path for a client. */
                fd = open(a->file, O_RDWR | O_CLOEXEC | O_NOCTTY);
                if (fd < 0) {
                        complain("Cannot open %s: %s", a->file, strerror(xerrno()));
                        return STATUS_FAILED;
                }
                w.fd = fd;
        }

        r = bus_connect(a, &bus);
        if (r == STATUS_OK)
                r = bus_new_call(bus, "CreateRegion", &m);
        if (r != STATUS_OK)
                return r;

        r = sd_bus_message_append(m, "stu", w.name, w.size, w.mode);
        if (r >= 0)
                r = append_options(m, a, &w);
        if (r < 0)
                return bus_message_failed(what, r);

        creation = (Creation){
                .name = w.name,
                .size = w.size,
                .show = a->populate && !a->quiet && a->json == JSON_OFF && isatty(STDERR_FILENO),
        };
        r = creation_run(&creation, bus, m, a, what, &interrupt, &reply);
        if (interrupt != 0)
                die_of(interrupt);
        if (r != STATUS_OK)
                return r;
        warn_of_huge_pages(a);
        return print_result(reply, a, &w, what);
}
