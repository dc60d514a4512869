/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command metrics: writes the figures as OpenMetrics text, which Prometheus reads, too. Gauges have the same form in both.
 * Counters do not: in the line TYPE, the name is without "_total" in one and with it in the other. So counters have no such
 * line. Then both read a value of unknown type, for which rate() works. All figures are those of the broker, and of the kernel
 * through the broker, at this moment.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bus.h"
#include "kinds.h"
#include "regions.h"
#include "util.h"
#include "verbs.h"

typedef enum Source {
        SOURCE_MANAGER, /* a property of the manager */
        SOURCE_REGION, /* a property of each region */
        SOURCE_SAVED, /* what follows from the properties of each region */
        SOURCE_READY,
        SOURCE_LIMIT, /* each property of the manager that is a limit */
        SOURCE_CALLS, /* the numbers of the manager's CallStatistics */
        SOURCE_ERRORS,
        SOURCE_ANSWERS, /* of polkit */
} Source;

static const struct {
        const char *name, *help;
        Source source;
        const char *property;
        double factor;
} metrics[] = {
        { "mshare_kernel_supported", "Whether the kernel has mshare.", SOURCE_MANAGER, "KernelSupport", 1 },
        { "mshare_granule_bytes", "Unit of the addresses and lengths of windows.", SOURCE_MANAGER, "Granule", 1 },
        { "mshare_regions", "Regions.", SOURCE_MANAGER, "NRegions", 1 },
        { "mshare_clients", "Leases on all regions.", SOURCE_MANAGER, "NClients", 1 },
        { "mshare_page_table_bytes", "Page tables of all regions, which exist once.", SOURCE_MANAGER, "PageTableBytes",
          1 },
        { "mshare_page_table_saved_bytes", "Page tables that sharing saves in all regions.", SOURCE_MANAGER,
          "PageTableBytesSaved", 1 },
        { "mshare_broker_calls_total", "Calls of each method.", SOURCE_CALLS, "CallStatistics", 1 },
        { "mshare_broker_errors_total", "Calls that were answered with an error.", SOURCE_ERRORS, "CallStatistics", 1 },
        { "mshare_polkit_questions_total", "Questions to polkit.", SOURCE_MANAGER, "PolkitAsked", 1 },
        { "mshare_polkit_answers_total", "How questions to polkit ended.", SOURCE_ANSWERS, NULL, 1 },
        { "mshare_polkit_waiting_calls", "Calls that wait for polkit.", SOURCE_MANAGER, "NPolkitWaiting", 1 },
        { "mshare_polkit_wait_seconds_total", "How long calls have waited for polkit.", SOURCE_MANAGER,
          "PolkitWaitUSec", 1e-6 },
        { "mshare_limit", "Limits of mshared.conf(5).", SOURCE_LIMIT, NULL, 1 },
        { "mshare_region_ready", "Whether the region is ready; 0 while it is being created.", SOURCE_READY, NULL, 1 },
        { "mshare_region_progress_ratio", "The populated part of a region that is being created.", SOURCE_REGION,
          "Progress", 1 },
        { "mshare_region_created_timestamp_seconds", "When the region was created.", SOURCE_REGION, "CreatedUSec",
          1e-6 },
        { "mshare_region_size_bytes", "Memory that is mapped in the region.", SOURCE_REGION, "Size", 1 },
        { "mshare_region_resident_bytes", "Memory of the region that is resident.", SOURCE_REGION, "ResidentBytes", 1 },
        { "mshare_region_clients", "Leases on the region.", SOURCE_REGION, "NClients", 1 },
        { "mshare_region_sharers", "Address spaces that have the region attached.", SOURCE_REGION, "NSharers", 1 },
        { "mshare_region_page_table_bytes", "Page tables of the region, which exist once.", SOURCE_REGION,
          "PageTableBytes", 1 },
        { "mshare_region_page_table_saved_bytes", "Page tables that sharing saves in the region.", SOURCE_SAVED, NULL,
          1 },
};

static const struct {
        const char *answer, *property;
} answers[] = {
        { "yes", "PolkitGranted" },      { "no", "PolkitDenied" },           { "failed", "PolkitFailed" },
        { "timeout", "PolkitTimedOut" }, { "cancelled", "PolkitCancelled" },
};

static bool is_counter(const char *name) {
        size_t n = strlen(name), k = strlen("_total");

        return n > k && streq(name + n - k, "_total");
}

static void print_head(FILE *f, const char *name, const char *help) {
        (void) fprintf(f, "# HELP %s %s\n", name, help);
        if (!is_counter(name))
                (void) fprintf(f, "# TYPE %s gauge\n", name);
}

static void print_label(FILE *f, const char *name, const char *value) {
        const char *p;

        (void) fprintf(f, "{%s=\"", name);
        for (p = value; *p; p++)
                if (*p == '\n')
                        (void) fputs("\\n", f);
                else {
                        if (*p == '\\' || *p == '"')
                                (void) fputc('\\', f);
                        (void) fputc(*p, f);
                }
        (void) fputs("\"}", f);
}

static void print_value(FILE *f, const Property *p, double factor) {
        if (!p)
                (void) fputs(" NaN\n", f);
        else if (p->type == 'd')
                (void) fprintf(f, " %.9g\n", p->real * factor);
        else if (factor < 1)
                (void) fprintf(f, " %.6f\n", (double) p->number * factor);
        else
                (void) fprintf(f, " %" PRIu64 "\n", p->number);
}

static bool is_limit(const Property *p) {
        size_t n = strlen(p->name);

        return p->type == 't' && n > 3 && streq(p->name + n - 3, "Max");
}

static void print_limits(FILE *f, const char *name, const Properties *p) {
        size_t i;

        for (i = 0; i < p->n; i++) {
                if (!is_limit(p->list + i))
                        continue;
                (void) fputs(name, f);
                print_label(f, "limit", p->list[i].name);
                if (p->list[i].number == UINT64_MAX)
                        (void) fputs(" +Inf\n", f);
                else
                        (void) fprintf(f, " %" PRIu64 "\n", p->list[i].number);
        }
}

static void print_calls(FILE *f, const char *name, const Property *p, size_t number) {
        for (size_t i = 0; p && p->entries && i < p->number; i++) {
                (void) fputs(name, f);
                print_label(f, "method", p->entries[i].name);
                (void) fprintf(f, " %" PRIu64 "\n", p->entries[i].numbers[number]);
        }
}

static void print_answers(FILE *f, const char *name, Properties *manager) {
        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                (void) fputs(name, f);
                print_label(f, "answer", answers[i].answer);
                print_value(f, properties_find(manager, answers[i].property), 1);
        }
}

static void print_region(FILE *f, size_t metric, Region *region) {
        (void) fputs(metrics[metric].name, f);
        print_label(f, "region", region->name);
        if (metrics[metric].source == SOURCE_SAVED)
                (void) fprintf(f, " %" PRIu64 "\n", region->saved);
        else if (metrics[metric].source == SOURCE_READY)
                (void) fprintf(f, " %d\n", streq(region->state, STATE_READY));
        else
                print_value(f, properties_find(&region->properties, metrics[metric].property), metrics[metric].factor);
}

static void print_all(FILE *f, Properties *manager, Regions *regions) {
        size_t i, k;

        for (i = 0; i < ELEMENTSOF(metrics); i++) {
                print_head(f, metrics[i].name, metrics[i].help);
                if (metrics[i].source == SOURCE_LIMIT)
                        print_limits(f, metrics[i].name, manager);
                else if (metrics[i].source == SOURCE_CALLS || metrics[i].source == SOURCE_ERRORS)
                        print_calls(f, metrics[i].name, properties_find(manager, metrics[i].property),
                                    metrics[i].source == SOURCE_ERRORS);
                else if (metrics[i].source == SOURCE_ANSWERS)
                        print_answers(f, metrics[i].name, manager);
                else if (metrics[i].source == SOURCE_MANAGER) {
                        (void) fputs(metrics[i].name, f);
                        print_value(f, properties_find(manager, metrics[i].property), metrics[i].factor);
                } else
                        for (k = 0; k < regions->n; k++)
                                print_region(f, i, regions->list + k);
        }
}

/* If the broker does not answer, that is reported as a figure, too. */
static int collect(const Arguments *a, FILE *f) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(properties_done) Properties manager = {};
        _cleanup_(regions_done) Regions regions = {};
        static const char what[] = "Cannot read the figures";
        int r;

        r = bus_connect(a, &bus);
        if (r == STATUS_OK)
                r = properties_get(bus, BUS_PATH, BUS_MANAGER_INTERFACE, a, what, &manager);
        if (r == STATUS_OK)
                r = regions_get(bus, a, what, &regions);
        if (r != STATUS_OK && r != STATUS_NO_BROKER)
                return r;

        print_head(f, "mshare_up", "Whether the broker answers.");
        (void) fprintf(f, "mshare_up %d\n", r == STATUS_OK);
        if (r == STATUS_OK)
                print_all(f, &manager, &regions);
        (void) fputs("# EOF\n", f);
        return STATUS_OK;
}

/* Replace the file atomically: a reader sees either the old file or the new one. */
static int write_file(const char *path, const char *text, size_t size) {
        _cleanup_(freep) char *temporary = NULL;
        _cleanup_(closep) int fd = -1;
        const char *slash = strrchr(path, '/');
        ssize_t n;
        int r;

        if (asprintf(&temporary, "%.*s.%s.XXXXXX", slash ? (int) (slash - path + 1) : 0, path,
                     slash ? slash + 1 : path) < 0) {
                temporary = NULL;
                return -ENOMEM;
        }
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return -xerrno();
        while (size > 0) {
                n = write(fd, text, size);
                if (n < 0) {
                        r = -xerrno();
                        goto fail;
                }
                text += n;
                size -= (size_t) n;
        }
        if (fchmod(fd, 0644) < 0 || rename(temporary, path) < 0) {
                r = -xerrno();
                goto fail;
        }
        return 0;

fail:
        (void) unlink(temporary);
        return r;
}

int verb_metrics(const Arguments *a) {
        _cleanup_(freep) char *text = NULL;
        size_t size;
        FILE *f;
        int r;

        f = open_memstream(&text, &size);
        if (!f)
                return bus_out_of_memory();
        r = collect(a, f);
        if (fclose(f) != 0 && r == STATUS_OK)
                return bus_out_of_memory();
        if (r != STATUS_OK)
                return r;
        if (!a->output) {
                (void) fwrite(text, 1, size, stdout);
                return STATUS_OK;
        }
        r = write_file(a->output, text, size);
        if (r < 0) {
                complain("Cannot write %s: %s", a->output, strerror(-r));
                return STATUS_FAILED;
        }
        return STATUS_OK;
}
