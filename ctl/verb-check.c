/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command check: finds out whether a server's shared memory is in a region. The kernel knows this: a process is in a region
 * if it has a window of it, and /proc shows windows without the broker. Ask the broker only if the server is not in the region,
 * to find out why.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-login.h>
#include <time.h>
#include <unistd.h>

#include "bus.h"
#include "errors.h"
#include "format.h"
#include "kinds.h"
#include "obstacles.h"
#include "place.h"
#include "properties.h"
#include "quantity.h"
#include "unit.h"
#include "util.h"
#include "verbs.h"

#define PROC "/proc"
#define MIN_SIZE_DEFAULT (UINT64_C(64) << 20)
#define INTERVAL_NSEC (100 * 1000 * 1000L)

typedef struct Checked {
        pid_t pid;
        char *unit;
        const char *region; /* as named; NULL: any */
        uint64_t min_size;
        bool min_size_set; /* by the caller: the server's own setting does not matter */
        Mappings mappings;
        const Mapping *window, *outside; /* of mappings; NULL: none */
        bool hidden; /* this user cannot see whether there is a window */
} Checked;

static void checked_done(Checked *c) {
        mappings_done(&c->mappings);
        free(c->unit);
}

static void target_done(Target *t) {
        free((char *) t->unusable);
        free((char *) t->acl);
}

/*
 * Reads the smallest size of a mapping that the preload library places. Do it at each look: a process that has just been forked
 * gets its environment when it executes the server.
 */
static int read_min_size(Checked *c) {
        _cleanup_(process_done) Process p = {};
        const uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
        uint64_t n;
        int r;

        if (c->min_size_set)
                return 0;
        r = process_read_environment(PROC, c->pid, &p);
        c->min_size = p.min_size && parse_amount(p.min_size, &n) >= 0 ? n : MIN_SIZE_DEFAULT;
        /* The library leaves one page of each System V segment outside. */
        if (c->min_size <= page)
                c->min_size = page + 1;
        return r;
}

/* Finds the window and the memory outside it, as they are now. */
static int look(Checked *c, const Place *place) {
        size_t i;
        int r;

        r = read_min_size(c);
        if (r < 0)
                return r;
        mappings_done(&c->mappings);
        c->window = NULL;
        r = process_read_mappings(PROC, c->pid, &c->mappings);
        if (r < 0)
                return r;
        for (i = 0; i < c->mappings.n && !c->window; i++) {
                r = place_has_window(place, PROC, c->pid, c->mappings.list + i);
                if (r < 0 && r != -EACCES)
                        return r;
                c->hidden |= r == -EACCES;
                if (r > 0)
                        c->window = c->mappings.list + i;
        }
        c->outside = largest_outside(&c->mappings, c->min_size);
        return 0;
}

static bool is_fine(const Checked *c) {
        return c->window && !c->outside;
}

/* Repeats look() until the server is in the region, the process has exited, or the time is over. */
static int look_for(Checked *c, const Place *place, uint64_t usec) {
        const struct timespec interval = { .tv_nsec = INTERVAL_NSEC };
        struct timespec start, now;
        int r;

        (void) clock_gettime(CLOCK_MONOTONIC, &start);
        for (;;) {
                r = look(c, place);
                (void) clock_gettime(CLOCK_MONOTONIC, &now);
                if (r < 0 || is_fine(c) ||
                    (uint64_t) (now.tv_sec - start.tv_sec) * 1000000 + (uint64_t) (now.tv_nsec / 1000) >=
                            usec + (uint64_t) (start.tv_nsec / 1000))
                        return r;
                (void) nanosleep(&interval, NULL);
        }
}

/* Reads the region's properties from the broker. Errors are not printed: they become obstacles. */
static int describe_target(sd_bus *bus, Target *t) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL, *all = NULL;
        _cleanup_(properties_done) Properties p = {};
        uint64_t granule = 0;
        const char *path;
        int r;

        r = sd_bus_get_property_trivial(bus, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, "Granule", &error, 't',
                                        &granule);
        if (r >= 0 && granule == 0) {
                t->unusable = strdup("The kernel has no mshare");
                return t->unusable ? 0 : -ENOMEM;
        }
        t->length = granule;
        if (r >= 0 && t->name)
                r = sd_bus_call_method(bus, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE, "GetRegion", &error, &reply, "s",
                                       t->name);
        if (sd_bus_error_has_name(&error, ERROR_NO_SUCH_REGION) || (r >= 0 && !t->name))
                return 0;
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r >= 0)
                r = sd_bus_call_method(bus, BUS_NAME, path, "org.freedesktop.DBus.Properties", "GetAll", &error, &all,
                                       "s", BUS_REGION_INTERFACE);
        if (r >= 0)
                r = properties_read(all, &p);
        if (r < 0) {
                if (sd_bus_error_has_names(&error, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                        t->unusable = strdup("The broker is not running (systemctl start mshared)");
                else if (asprintf((char **) &t->unusable, "The broker does not answer: %s",
                                  error.message ?: strerror(-r)) < 0)
                        t->unusable = NULL;
                return t->unusable ? 0 : -ENOMEM;
        }

        t->exists = true;
        t->ready = streq(properties_string(&p, "State"), STATE_READY);
        t->size = properties_number(&p, "Size");
        if (streq(properties_string(&p, "Backing"), "empty") && properties_number(&p, "Length") > 0)
                t->size = properties_number(&p, "Length");
        if (properties_number(&p, "Length") > granule)
                t->length = properties_number(&p, "Length");
        t->mode = properties_number(&p, "Mode") & 0777;
        t->uid = (uint32_t) properties_number(&p, "UID");
        t->gid = (uint32_t) properties_number(&p, "GID");
        t->acl = strdup(properties_string(&p, "Acl"));
        return t->acl ? 0 : -ENOMEM;
}

static int print_json(const Checked *c, const Obstacles *o, JsonMode mode) {
        _cleanup_(freep) char *unit = NULL, *region = NULL, *list = NULL;
        char pid[32], address[32], outside[32];
        size_t size, i;
        FILE *f;

        f = open_memstream(&list, &size);
        if (!f)
                return bus_out_of_memory();
        (void) fputc('[', f);
        for (i = 0; i < o->n; i++) {
                _cleanup_(freep) char *text = json_string(o->list[i]);

                (void) fprintf(f, "%s%s", i > 0 ? "," : "", text ?: "null");
        }
        (void) fputc(']', f);
        if (fclose(f) != 0)
                return bus_out_of_memory();

        unit = json_string(c->unit ?: "");
        region = json_string(c->window ? mapping_name(c->window) : c->region ?: "");
        if (!unit || !region)
                return bus_out_of_memory();
        (void) snprintf(pid, sizeof(pid), "%d", (int) c->pid);
        (void) snprintf(address, sizeof(address), "%" PRIu64, c->window ? c->window->start : 0);
        (void) snprintf(outside, sizeof(outside), "%" PRIu64, c->outside ? c->outside->end - c->outside->start : 0);
        json_print_object(stdout, mode, 0,
                          (const JsonMember[]){
                                  { "pid", pid },
                                  { "unit", c->unit ? unit : "null" },
                                  { "shared", is_fine(c) ? "true" : "false" },
                                  { "region", c->window || c->region ? region : "null" },
                                  { "address", c->window ? address : "null" },
                                  { "outside", outside },
                                  { "obstacles", list },
                          },
                          7);
        (void) putchar('\n');
        return STATUS_OK;
}

/* Process 1234 (postgresql@15-main.service) */
static void describe_process(const Checked *c, char *buf, size_t size) {
        (void) snprintf(buf, size, "Process %d%s%s%s", (int) c->pid, c->unit ? " (" : "", c->unit ?: "",
                        c->unit ? ")" : "");
}

static int report(const Checked *c, const Obstacles *o, const Arguments *a) {
        char who[320], bytes[32];
        size_t i;

        describe_process(c, who, sizeof(who));
        if (is_fine(c)) {
                if (!a->quiet)
                        (void) printf("%s has its shared memory in region %s, at 0x%" PRIx64 ".\n", who,
                                      mapping_name(c->window), c->window->start);
                return STATUS_OK;
        }
        if (c->window)
                complain("%s is in region %s, but %s of its shared memory is not: %s at 0x%" PRIx64, who,
                         mapping_name(c->window),
                         format_bytes(c->outside->end - c->outside->start, bytes, sizeof(bytes)),
                         mapping_shared_memory_kind(c->outside), c->outside->start);
        else if (c->region)
                complain("%s does not have its shared memory in region %s", who, c->region);
        else
                complain("%s does not have its shared memory in a region", who);
        /* They may contain text from the server's environment, which any user may have set. */
        for (i = 0; i < o->n; i++) {
                _cleanup_(freep) char *text = format_printable(o->list[i]);

                (void) fprintf(stderr, "  %s.\n", text ?: "out of memory for a message");
        }
        if (o->n == 0 && !c->window)
                (void) fputs("  No obstacle was found: see the messages of libmshare-preload in the server's log.\n",
                             stderr);
        return STATUS_FAILED;
}

/* Reads what it can about region and broker, and leaves out the rest. */
static int diagnose(const Checked *c, const Place *place, Obstacles *ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(process_done) Process p = {};
        _cleanup_(target_done) Target t = {};
        int r;

        r = process_read(PROC, c->pid, &p);
        if (r < 0)
                return r;
        t.name = c->region ?: p.region;
        r = sd_bus_open_system_with_description(&bus, "msharectl");
        if (r < 0)
                t.unusable = strdup("The system bus, and therefore the broker, cannot be reached");
        else
                r = describe_target(bus, &t);
        if (r < 0 && !t.unusable)
                return r;
        if (!place->mounted && !t.unusable)
                t.unusable = strdup(c->hidden ? "msharefs is not mounted on " MSHAREFS_PATH
                                                ", and without it only root can see regions"
                                              : "msharefs is not mounted on " MSHAREFS_PATH);
        if (!t.acl)
                t.acl = strdup("");
        return t.acl ? obstacles_find(&p, &c->mappings, &t, c->min_size, ret) : -ENOMEM;
}

static int parse_pid(const char *s, pid_t *ret) {
        char *end;
        long n;

        if (s[strspn(s, "0123456789")] != '\0' || s[0] == '\0')
                return 0;
        errno = 0;
        n = strtol(s, &end, 10);
        if (errno != 0 || n <= 0 || n > INT32_MAX)
                return -ERANGE;
        *ret = (pid_t) n;
        return 1;
}

static int find_process(const Arguments *a, pid_t *ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = parse_pid(a->names[0], ret);
        if (r < 0) {
                complain("Invalid PID '%s': expected a number from 1 to %d", a->names[0], INT32_MAX);
                return STATUS_USAGE;
        }
        if (r > 0)
                return STATUS_OK;
        r = bus_connect(a, &bus);
        return r == STATUS_OK ? unit_find_process(bus, a->names[0], ret) : r;
}

static int process_failed(pid_t pid, int r) {
        if (r == -ENOMEM)
                return bus_out_of_memory();
        if (r == -ESRCH)
                complain("There is no process %d", (int) pid);
        else
                complain("Cannot inspect process %d: %s", (int) pid, strerror(-r));
        return r == -EACCES ? STATUS_DENIED : STATUS_FAILED;
}

int verb_check(const Arguments *a) {
        _cleanup_(checked_done) Checked c = { .min_size_set = a->min_size };
        _cleanup_(obstacles_done) Obstacles o = {};
        uint64_t wait_usec = 0;
        Place place;
        int r, status;

        if (a->min_size && parse_amount(a->min_size, &c.min_size) < 0) {
                complain("Invalid --min-size '%s': expected " AMOUNT_FORM, a->min_size);
                return STATUS_USAGE;
        }
        if (a->wait && parse_span(a->wait, &wait_usec) < 0) {
                complain("Invalid --wait '%s': expected " SPAN_FORM, a->wait);
                return STATUS_USAGE;
        }
        c.region = a->n_names > 1 ? a->names[1] : NULL;

        status = find_process(a, &c.pid);
        if (status == STATUS_OK)
                status = place_find(c.region, &place);
        if (status != STATUS_OK)
                return status;
        r = look_for(&c, &place, wait_usec);
        if (r < 0)
                return process_failed(c.pid, r);
        (void) sd_pid_get_unit(c.pid, &c.unit);

        if (!c.window) {
                r = diagnose(&c, &place, &o);
                if (r < 0)
                        return process_failed(c.pid, r);
        }
        status = a->json == JSON_OFF ? report(&c, &o, a) : print_json(&c, &o, a->json);
        if (status == STATUS_OK && !is_fine(&c))
                status = STATUS_FAILED;
        return place.missing && status == STATUS_FAILED ? STATUS_NO_REGION : status;
}
