/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command top: lists regions continuously, as top(1) lists processes. The figures come from the broker, faults and flushes
 * from this kernel's tracepoints.
 */

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>

#include "bus.h"
#include "format.h"
#include "quantity.h"
#include "rates.h"
#include "regions.h"
#include "table.h"
#include "util.h"
#include "verbs.h"

#define DELAY_DEFAULT_USEC (2 * UINT64_C(1000000))
#define DELAY_MIN_USEC UINT64_C(100000)
/* Lines that are not rows: the summary, the header, and an empty one. */
#define LINES_AROUND 4

#define CLEAR "\x1b[H\x1b[J"

static const Column columns[] = {
        { "name", 0, NULL },
        { "size", COLUMN_RIGHT, NULL },
        { "resident", COLUMN_RIGHT, NULL },
        { "growth", COLUMN_RIGHT, "growth/s" },
        { "sharers", COLUMN_RIGHT, NULL },
        { "clients", COLUMN_RIGHT, NULL },
        { "page_tables", COLUMN_RIGHT, "tables" },
        { "saved", COLUMN_RIGHT, NULL },
        { "faults", COLUMN_RIGHT, "faults/s" },
        { "flushes", COLUMN_RIGHT, "flushes/s" },
        { "state", 0, NULL },
};

static const struct {
        char key;
        const char *column;
} keys[] = {
        { 'n', "name" },    { 's', "size" },   { 'r', "resident" }, { 'p', "sharers" },
        { 'c', "clients" }, { 't', "tables" }, { 'v', "saved" },
};

/* A region's counters in the kernel. */
typedef struct Counted {
        char *name;
        Counters counters;
        uint64_t usec, values[_COUNTER_MAX]; /* of the last update */
        bool seen; /* in this update */
} Counted;

typedef struct Top {
        const Arguments *a;
        sd_bus *bus;
        const char *sort;
        bool screen; /* a terminal: it is redrawn each time, and its keys are read */
        uint64_t delay_usec, iterations; /* iterations 0: no limit */
        struct termios saved;
        bool raw;
        int signal_fd;
        Regions before; /* of the last update */
        uint64_t before_usec;
        Counted *counted;
        size_t n_counted;
} Top;

static void counted_done(Counted *c) {
        free(c->name);
        counters_close(&c->counters);
}

static void top_done(Top *t) {
        size_t i;

        for (i = 0; i < t->n_counted; i++)
                counted_done(t->counted + i);
        free(t->counted);
        if (t->raw)
                (void) tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
        regions_done(&t->before);
        sd_bus_flush_close_unref(t->bus);
        if (t->signal_fd >= 0)
                (void) close(t->signal_fd);
}

static uint64_t usec_now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static int add_bytes(Table *t, uint64_t n) {
        char text[32];

        return table_add_number(t, n, format_bytes(n, text, sizeof(text)));
}

/* How much the resident memory has grown per second; null for a new region. */
static int add_growth(Table *t, const Top *top, const Region *region, uint64_t now) {
        const Region *old = NULL;
        char text[40], bytes[32], json[32];
        double rate;
        size_t i;

        for (i = 0; i < top->before.n && !old; i++)
                if (streq(top->before.list[i].name, region->name))
                        old = top->before.list + i;
        if (!old || now <= top->before_usec)
                return table_add_null(t);
        rate = ((double) region->resident - (double) old->resident) * 1e6 / (double) (now - top->before_usec);
        (void) snprintf(text, sizeof(text), "%s%s", rate < 0 ? "-" : "",
                        format_bytes((uint64_t) (rate < 0 ? -rate : rate), bytes, sizeof(bytes)));
        (void) snprintf(json, sizeof(json), "%.0f", rate);
        return table_add_value(t, text, json);
}

/* The counters of a region, opened if it is new. NULL: they cannot be opened. */
static Counted *find_counted(Top *top, const char *name) {
        Counted *list, new = {};
        size_t i;

        for (i = 0; i < top->n_counted; i++)
                if (streq(top->counted[i].name, name))
                        return top->counted + i;
        /* This kernel's counters do not apply to regions of another machine. */
        if (top->a->host || top->a->machine)
                return NULL;
        list = reallocarray(top->counted, top->n_counted + 1, sizeof(*list));
        if (!list)
                return NULL;
        top->counted = list;
        new.name = strdup(name);
        if (!new.name || counters_open(TRACEFS_PATH, name, &new.counters) < 0) {
                counted_done(&new);
                return NULL;
        }
        list[top->n_counted] = new;
        return list + top->n_counted++;
}

/* Close the counters of regions that are no longer shown. Their names may be used again. */
static void forget_unseen(Top *top) {
        size_t i, n = 0;

        for (i = 0; i < top->n_counted; i++) {
                if (!top->counted[i].seen) {
                        counted_done(top->counted + i);
                        continue;
                }
                top->counted[i].seen = false;
                top->counted[n++] = top->counted[i];
        }
        top->n_counted = n;
}

static int add_rate(Table *t, uint64_t before, uint64_t now, uint64_t usec) {
        char text[40];

        (void) snprintf(text, sizeof(text), "%.0f", (double) (now - before) * 1e6 / (double) usec);
        return table_add_value(t, text, text);
}

/* Faults and flushes per second; null the first time. */
static int add_rates(Table *t, Top *top, const char *name) {
        Counted *c = find_counted(top, name);
        uint64_t values[_COUNTER_MAX] = {}, now = usec_now();
        bool counts = c && counters_read(&c->counters, values) >= 0;
        bool known = counts && c->usec > 0 && now > c->usec;
        size_t i;
        int r = 0;

        for (i = 0; i < _COUNTER_MAX && r >= 0; i++)
                r = known ? add_rate(t, c->values[i], values[i], now - c->usec) : table_add_null(t);
        if (c)
                c->seen = true;
        if (counts) {
                memcpy(c->values, values, sizeof(values));
                c->usec = now;
        }
        return r;
}

static int add_region(Table *t, Top *top, const Region *region, uint64_t now) {
        if (table_add_string(t, region->name) < 0 || add_bytes(t, region->size) < 0 ||
            add_bytes(t, region->resident) < 0 || add_growth(t, top, region, now) < 0 ||
            table_add_number(t, region->sharers, NULL) < 0 || table_add_number(t, region->clients, NULL) < 0 ||
            add_bytes(t, region->page_tables) < 0 || add_bytes(t, region->saved) < 0 ||
            add_rates(t, top, region->name) < 0 || table_add_string(t, region->state) < 0)
                return -ENOMEM;
        return 0;
}

static void print_summary(const Top *top, const Regions *regions) {
        uint64_t sharers = 0, tables = 0, saved = 0;
        char b1[32], b2[32], when[32];
        time_t now = time(NULL);
        struct tm tm;
        size_t i;

        for (i = 0; i < regions->n; i++) {
                sharers += regions->list[i].sharers;
                tables += regions->list[i].page_tables;
                saved += regions->list[i].saved;
        }
        if (!localtime_r(&now, &tm) || strftime(when, sizeof(when), "%H:%M:%S", &tm) == 0)
                strcpy(when, "-");
        (void) printf("%s  %zu region%s, %" PRIu64 " sharer%s, page tables: %s held once, %s saved%s\n", when,
                      regions->n, regions->n == 1 ? "" : "s", sharers, sharers == 1 ? "" : "s",
                      format_bytes(tables, b1, sizeof(b1)), format_bytes(saved, b2, sizeof(b2)),
                      top->screen ? "  (q quits)" : "");
}

static size_t rows_for(const Top *top, size_t n) {
        struct winsize ws;

        if (!top->screen || ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_row <= LINES_AROUND)
                return n;
        return n < (size_t) ws.ws_row - LINES_AROUND ? n : (size_t) ws.ws_row - LINES_AROUND;
}

static int show(Top *top) {
        _cleanup_(regions_done) Regions regions = {};
        _cleanup_(table_freep) Table *t = NULL;
        Arguments a = *top->a;
        uint64_t now;
        size_t i, n;
        int r;

        r = regions_get(top->bus, &a, "Cannot list regions", &regions);
        if (r != STATUS_OK)
                return r;
        now = usec_now();
        regions_sort(&regions, top->sort);

        n = rows_for(top, regions.n);
        r = table_new(columns, ELEMENTSOF(columns), &t);
        for (i = 0; r >= 0 && i < n; i++)
                r = add_region(t, top, regions.list + i, now);
        if (r < 0)
                return bus_out_of_memory();
        forget_unseen(top);

        if (top->screen)
                (void) fputs(CLEAR, stdout);
        if (a.json == JSON_OFF && a.legend)
                print_summary(top, &regions);
        a.pager = false;
        r = table_print(t, &a, NULL);
        if (r < 0)
                return bus_out_of_memory();
        if (fflush(stdout) != 0)
                return STATUS_FAILED;

        regions_done(&top->before);
        top->before = regions;
        regions = (Regions){};
        top->before_usec = now;
        return STATUS_OK;
}

/* Waits until that time, a key or a signal. 0: show again; 1: stop. */
static int wait_for_next(Top *top, uint64_t until) {
        struct pollfd fds[] = {
                { .fd = top->signal_fd, .events = POLLIN },
                { .fd = top->raw ? STDIN_FILENO : -1, .events = POLLIN },
        };
        struct signalfd_siginfo si;
        uint64_t now;
        size_t i;
        char key;

        while ((now = usec_now()) < until) {
                if (poll(fds, ELEMENTSOF(fds), (int) ((until - now) / 1000) + 1) <= 0)
                        continue;
                if (fds[0].revents) {
                        if (read(top->signal_fd, &si, sizeof(si)) != sizeof(si) || si.ssi_signo != SIGWINCH)
                                return 1;
                        return 0;
                }
                if (read(STDIN_FILENO, &key, 1) != 1) {
                        fds[1].fd = -1;
                        continue;
                }
                if (key == 'q')
                        return 1;
                for (i = 0; i < ELEMENTSOF(keys); i++)
                        if (keys[i].key == key) {
                                top->sort = keys[i].column;
                                return 0;
                        }
        }
        return 0;
}

static int open_terminal(Top *top) {
        struct termios raw;
        sigset_t mask;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigaddset(&mask, SIGWINCH);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);
        top->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC);
        if (top->signal_fd < 0)
                return -xerrno();

        /* Read keys without Enter; Ctrl-C stays a signal. */
        if (top->screen && tcgetattr(STDIN_FILENO, &top->saved) >= 0) {
                raw = top->saved;
                raw.c_lflag &= ~(tcflag_t) (ICANON | ECHO);
                top->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) >= 0;
        }
        return 0;
}

static int parse_words(const Arguments *a, Top *top) {
        uint64_t n;

        if (a->sort && !regions_sort_known(a->sort)) {
                complain("Invalid --sort '%s': expected one of " SORT_WORDS, a->sort);
                return STATUS_USAGE;
        }
        if (a->delay && (parse_span(a->delay, &n) < 0 || n < DELAY_MIN_USEC)) {
                complain("Invalid --delay '%s': expected at least 100ms, as " SPAN_FORM, a->delay);
                return STATUS_USAGE;
        }
        top->delay_usec = a->delay ? n : DELAY_DEFAULT_USEC;
        if (a->iterations &&
            (a->iterations[strspn(a->iterations, "0123456789")] || parse_amount(a->iterations, &n) < 0)) {
                complain("Invalid --iterations '%s': expected a number above 0", a->iterations);
                return STATUS_USAGE;
        }
        top->iterations = a->iterations ? n : 0;
        return STATUS_OK;
}

/* The counters of a region need two descriptors for each CPU. */
static void allow_descriptors(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

int verb_top(const Arguments *a) {
        _cleanup_(top_done) Top top = {
                .a = a,
                .sort = a->sort ?: "saved",
                .screen = !a->batch && a->json == JSON_OFF && isatty(STDOUT_FILENO),
                .signal_fd = -1,
        };
        uint64_t i, next;
        int r;

        r = parse_words(a, &top);
        if (r == STATUS_OK)
                r = bus_connect(a, &top.bus);
        if (r != STATUS_OK)
                return r;
        allow_descriptors();
        r = open_terminal(&top);
        if (r < 0) {
                complain("Cannot wait for signals: %s", strerror(-r));
                return STATUS_FAILED;
        }

        for (i = 1;; i++) {
                if (i > 1 && !top.screen && a->json == JSON_OFF)
                        (void) putchar('\n');
                r = show(&top);
                if (r != STATUS_OK)
                        return r;
                next = usec_now() + top.delay_usec;
                if (i == top.iterations || wait_for_next(&top, next) > 0)
                        return STATUS_OK;
        }
}
