/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Counters of faults and flushes: perf events on the kernel's tracepoints, one for each CPU. It does not ask the broker. */

#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "rates.h"
#include "util.h"

static const char *const tracepoints[_COUNTER_MAX] = {
        [COUNTER_FAULTS] = "mshare_fault",
        [COUNTER_FLUSHES] = "mshare_flush",
};

static int tracepoint_id(const char *tracefs, const char *tracepoint, uint64_t *ret) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closep) int fd = -1;
        char text[24] = "", *end;
        ssize_t n;

        if (asprintf(&path, "%s/events/mshare/%s/id", tracefs, tracepoint) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -xerrno();
        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -xerrno();
        errno = 0;
        *ret = strtoull(text, &end, 10);
        return end == text || *end != '\n' || errno > 0 ? -EBADMSG : 0;
}

/* A filter cannot contain an escaped quotation mark. The broker allows none in names. */
static int make_filter(const char *region, char **ret) {
        if (region[0] == '\0' || strpbrk(region, "\"\\"))
                return -EINVAL;
        if (asprintf(ret, "name == \"%s\"", region) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

/* -ENODEV: the CPU is offline. */
static int open_one(uint64_t id, int cpu, const char *filter) {
        struct perf_event_attr attr = {
                .type = PERF_TYPE_TRACEPOINT,
                .size = sizeof(attr),
                .config = id,
        };
        _cleanup_(closep) int fd = -1;

        fd = (int) syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
        if (fd < 0 || ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter) < 0)
                return -xerrno();
        return TAKE_FD(fd);
}

void counters_close(Counters *c) {
        size_t i;

        for (i = 0; i < _COUNTER_MAX * c->n_cpus; i++)
                (void) safe_close(c->fds[i]);
        free(c->fds);
        *c = (Counters){};
}

int counters_open(const char *tracefs, const char *region, Counters *ret) {
        _cleanup_(counters_close) Counters c = {};
        _cleanup_(freep) char *filter = NULL;
        long cpus = sysconf(_SC_NPROCESSORS_CONF);
        uint64_t id = 0;
        size_t i, cpu;
        int r;

        r = make_filter(region, &filter);
        if (r < 0)
                return r;
        if (cpus <= 0)
                return -ENOSYS;
        c.fds = calloc((size_t) cpus, _COUNTER_MAX * sizeof(*c.fds));
        if (!c.fds)
                return -ENOMEM;
        c.n_cpus = (size_t) cpus;
        for (i = 0; i < _COUNTER_MAX * c.n_cpus; i++)
                c.fds[i] = -1;

        for (i = 0; i < _COUNTER_MAX; i++) {
                r = tracepoint_id(tracefs, tracepoints[i], &id);
                if (r < 0)
                        return r;
                for (cpu = 0; cpu < c.n_cpus; cpu++) {
                        r = open_one(id, (int) cpu, filter);
                        if (r < 0 && r != -ENODEV)
                                return r;
                        c.fds[i * c.n_cpus + cpu] = r < 0 ? -1 : r;
                }
        }
        *ret = c;
        c = (Counters){};
        return 0;
}

int counters_read(const Counters *c, uint64_t ret[static _COUNTER_MAX]) {
        uint64_t sum[_COUNTER_MAX] = {}, n;
        size_t i;

        for (i = 0; i < _COUNTER_MAX * c->n_cpus; i++) {
                if (c->fds[i] < 0)
                        continue;
                if (read(c->fds[i], &n, sizeof(n)) != sizeof(n))
                        return -xerrno();
                sum[i / c->n_cpus] += n;
        }
        memcpy(ret, sum, sizeof(sum));
        return 0;
}
