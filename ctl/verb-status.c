/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The command status: the broker or one region, described for people. Programs use show. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bus.h"
#include "errors.h"
#include "format.h"
#include "kinds.h"
#include "pager.h"
#include "regions.h"
#include "util.h"
#include "verbs.h"

#define BYTES_MAX 32

static void _printf_(2, 3) line(const char *key, const char *format, ...) {
        va_list ap;

        (void) printf("%*s: ", 14, key);
        va_start(ap, format);
        (void) vprintf(format, ap);
        va_end(ap);
        (void) putchar('\n');
}

static bool is_limit(const Property *p) {
        return !p->shown && (p->type == 't' || p->type == 'u');
}

/*
 * KernelSupport is only about the kernel. Other obstacles, such as a missing mount of msharefs, appear in the answer to a
 * request for a region. No region has an empty name, so requesting that has no other effect. *ret is the broker's sentence, or
 * NULL.
 */
static int find_obstacle(sd_bus *bus, char **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call_method(bus, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, "AcquireRegion", &error, NULL, "ssa{sv}",
                               "", access_to_string(ACCESS_READ), 0);
        if (r >= 0 || !sd_bus_error_has_name(&error, ERROR_KERNEL_UNSUPPORTED))
                return STATUS_OK;
        *ret = strdup(error.message ?: error.name);
        return *ret ? STATUS_UNSUPPORTED : bus_out_of_memory();
}

/* Counts since the start of the broker. Older versions do not have them. */
static void print_statistics(Properties *p) {
        const Property *calls = properties_find(p, "CallStatistics");
        uint64_t n = 0, errors = 0;

        if (!calls || !calls->entries)
                return;
        for (size_t i = 0; i < calls->number; i++) {
                n += calls->entries[i].numbers[0];
                errors += calls->entries[i].numbers[1];
        }
        line("Calls", "%" PRIu64 ", %" PRIu64 " answered with an error", n, errors);
        line("polkit",
             "questions: %" PRIu64 "; %" PRIu64 " yes, %" PRIu64 " no, %" PRIu64 " failed, %" PRIu64
             " timed out, %" PRIu64 " cancelled",
             properties_number(p, "PolkitAsked"), properties_number(p, "PolkitGranted"),
             properties_number(p, "PolkitDenied"), properties_number(p, "PolkitFailed"),
             properties_number(p, "PolkitTimedOut"), properties_number(p, "PolkitCancelled"));
        line("", "waiting calls: %" PRIu64 ", total wait %.3gs", properties_number(p, "NPolkitWaiting"),
             (double) properties_number(p, "PolkitWaitUSec") / 1e6);
}

static void print_manager(Properties *p, const char *obstacle) {
        char b1[BYTES_MAX], b2[BYTES_MAX];
        bool support = properties_number(p, "KernelSupport");
        const char *key = "Limits";
        size_t i;

        (void) printf("mshared %s\n", properties_string(p, "Version"));
        if (support)
                line("Kernel", "has mshare, granule %s", format_bytes(properties_number(p, "Granule"), b1, sizeof(b1)));
        else if (!obstacle)
                line("Kernel", "has no mshare: " KERNEL_RULE);
        if (obstacle)
                line(support ? "Unusable" : "Kernel", "%s", obstacle);
        (void) properties_find(p, "Granule");
        line("Regions", "%" PRIu64, properties_number(p, "NRegions"));
        line("Clients", "%" PRIu64, properties_number(p, "NClients"));
        line("Page tables", "%s held once, %s saved",
             format_bytes(properties_number(p, "PageTableBytes"), b1, sizeof(b1)),
             format_bytes(properties_number(p, "PageTableBytesSaved"), b2, sizeof(b2)));
        print_statistics(p);

        for (i = 0; i < p->n; i++)
                if (is_limit(p->list + i)) {
                        if (p->list[i].number == UINT64_MAX)
                                line(key, "%s=infinity", p->list[i].name);
                        else
                                line(key, "%s=%" PRIu64, p->list[i].name, p->list[i].number);
                        key = "";
                }
}

static int print_region(Properties *p) {
        char b1[BYTES_MAX], b2[BYTES_MAX], user[64], group[64], when[64];
        const Property *progress = properties_find(p, "Progress");
        const char *state = properties_string(p, "State");
        _cleanup_(freep) char *name = NULL, *label = NULL;
        uint64_t address = properties_number(p, "Address"), length = properties_number(p, "Length");
        uint64_t tables = properties_number(p, "PageTableBytes");
        uint64_t linger = properties_number(p, "LingerUSec");

        name = format_printable(properties_string(p, "Name"));
        label = format_printable(properties_string(p, "Label"));
        if (!name || !label)
                return bus_out_of_memory();

        (void) printf("%s%s%s\n", name, label[0] ? " - " : "", label);
        if (progress && streq(state, STATE_CREATING))
                line("State", "%s, %.0f%%", state, progress->real * 100);
        else
                line("State", "%s", state);
        if (address != 0)
                line("Window", "%s at 0x%" PRIx64, format_bytes(length, b1, sizeof(b1)), address);
        line("Size", "%s, %s", format_bytes(properties_number(p, "Size"), b1, sizeof(b1)),
             properties_string(p, "Backing"));
        if (properties_string(p, "NUMA")[0] && !streq(properties_string(p, "NUMA"), "default"))
                line("NUMA", "%s", properties_string(p, "NUMA"));
        line("Mode", "%04" PRIo64 "%s", properties_number(p, "Mode") & 0777,
             properties_number(p, "Acl") > 0 ? "+" : "");
        if (properties_number(p, "Acl") > 0)
                line("Admits", "%s", properties_string(p, "Acl"));
        if (access_from_string(properties_string(p, "Access")) == ACCESS_READ)
                line("Access", "read-only for everyone, whatever the mode");
        line("Owner", "%s:%s", format_uid((uint32_t) properties_number(p, "UID"), user, sizeof(user)),
             format_gid((uint32_t) properties_number(p, "GID"), group, sizeof(group)));
        line("Clients", "%" PRIu64, properties_number(p, "NClients"));
        line("Sharers", "%" PRIu64, properties_number(p, "NSharers"));
        line("Resident", "%s", format_bytes(properties_number(p, "ResidentBytes"), b1, sizeof(b1)));
        line("Page tables", "%s held once, %s saved", format_bytes(tables, b1, sizeof(b1)),
             format_bytes(saved_bytes(properties_number(p, "NSharers"), tables), b2, sizeof(b2)));
        if (linger != 0)
                line("Lifetime", "%s, lingers %.3gs", properties_string(p, "Lifetime"), (double) linger / 1e6);
        else
                line("Lifetime", "%s", properties_string(p, "Lifetime"));
        line("Created", "%s", format_time(properties_number(p, "CreatedUSec"), when, sizeof(when)));
        return STATUS_OK;
}

static int show_manager(sd_bus *bus, const Arguments *a) {
        _cleanup_(properties_done) Properties p = {};
        _cleanup_(pager_close) Pager pager = PAGER_NONE;
        _cleanup_(freep) char *obstacle = NULL;
        int r, status;

        r = properties_get(bus, BUS_PATH, BUS_MANAGER_INTERFACE, a, "Cannot show the broker's status", &p);
        if (r != STATUS_OK)
                return r;
        status = find_obstacle(bus, &obstacle);
        if (status == STATUS_FAILED)
                return status;
        if (properties_number(&p, "KernelSupport") == 0)
                status = STATUS_UNSUPPORTED;

        if (a->json != JSON_OFF) {
                r = properties_print_json(&p, a->json);
                if (obstacle)
                        complain("%s", obstacle);
        } else {
                pager_open(&pager, a->pager);
                print_manager(&p, obstacle);
        }
        return r == STATUS_OK ? status : r;
}

static int show_region(sd_bus *bus, const char *name, const Arguments *a) {
        _cleanup_(properties_done) Properties p = {};
        _cleanup_(freep) char *path = NULL;
        static const char what[] = "Cannot show a region's status";
        int r;

        r = bus_region_path(bus, name, a, what, &path);
        if (r == STATUS_OK)
                r = properties_get(bus, path, BUS_REGION_INTERFACE, a, what, &p);
        if (r != STATUS_OK)
                return r;
        return a->json != JSON_OFF ? properties_print_json(&p, a->json) : print_region(&p);
}

int verb_status(const Arguments *a) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(pager_close) Pager pager = PAGER_NONE;
        int i, r, status = STATUS_OK;

        r = bus_connect(a, &bus);
        if (r != STATUS_OK)
                return r;
        if (a->n_names == 0)
                return show_manager(bus, a);

        if (a->json == JSON_OFF)
                pager_open(&pager, a->pager);
        for (i = 0; i < a->n_names; i++) {
                if (i > 0 && a->json == JSON_OFF)
                        (void) putchar('\n');
                r = show_region(bus, a->names[i], a);
                if (r != STATUS_OK)
                        status = r;
        }
        return status;
}
