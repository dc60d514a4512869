/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Populates the memory of a declared region. The broker could do that, but then its own unit would be charged for the memory. A
 * child process does the work: it is attached only for that time, it can be killed, and when memory is short the kernel kills
 * it first. It makes its calls through KernelOps, and must not use the bus.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "errors.h"
#include "kernel/kernel-ops.h"
#include "kernel/populate.h"
#include "mshare.h"
#include "region-populate.h"

typedef enum ReportKind {
        REPORT_PROGRESS,
        REPORT_ATTACH_FAILED,
        REPORT_END,
} ReportKind;

/* What the child writes into its pipe. */
typedef struct Report {
        ReportKind kind;
        PopulateResult result;
} Report;

/* The region, as the bus reports it. */
typedef struct Populating {
        Start *s;
        const char *name;
        uint64_t address, window, from, to; /* bytes */
        Backing backing;
        NumaPolicy numa;
        bool writable;
        uint32_t final_mode; /* of a suspended region, or 0 */
        pid_t pid;
        int fd; /* reads the reports */
        sd_event_source *io;
        sd_bus_slot *slot, *broker;
        Report last;
        uint64_t created_usec; /* distinguishes it from a later region of that name */
        bool ended, removed;
        bool check; /* whether it still exists */
} Populating;

/* The child. */

static void report(int fd, const Report *r) {
        while (write(fd, r, sizeof(*r)) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE);
}

static void on_progress(uint64_t done, void *userdata) {
        const Report r = { .kind = REPORT_PROGRESS, .result = { .done = done } };

        report(*(int *) userdata, &r);
}

static int attach(const KernelOps *ops, const Populating *p) {
        _cleanup_(closep) int root = -1, fd = -1;
        struct mshare_info info;

        root = open(ops->root(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
                return -errno;
        fd = openat(root, p->name, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
        if (fd < 0)
                return -errno;
        /* Another region of that name would have another window. */
        if (pread(fd, &info, sizeof(info), 0) != sizeof(info) || info.start != p->address || info.size != p->window)
                return -ESTALE;
        return ops->attach(fd, p->address, p->window);
}

_Noreturn static void child(const Populating *p, pid_t parent, int fd) {
        const KernelOps *ops = kernel_ops();
        const PopulateSpec spec = {
                .start = (char *) (uintptr_t) p->address + p->from,
                .length = p->to - p->from,
                .backing = p->backing,
                .numa = &p->numa,
                .writable = p->writable,
        };
        Report r = { .kind = REPORT_END };
        int e;

        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(EXIT_FAILURE);
        be_expendable();
        e = attach(ops, p);
        if (e < 0) {
                r.kind = REPORT_ATTACH_FAILED;
                r.result.error = -e;
        } else
                r.result = populate(ops, &spec, on_progress, &fd);
        report(fd, &r);
        _exit(EXIT_SUCCESS);
}

/* The unit's process. */

static int on_report(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Populating *p = userdata;
        Report r;
        ssize_t n;

        n = read(fd, &r, sizeof(r));
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return 0;
        if (n != sizeof(r)) {
                p->ended = true;
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);
        }
        p->last = r;
        if (r.kind == REPORT_PROGRESS)
                (void) sd_notifyf(false, "STATUS=Populating region %s: %.0f %%", p->name,
                                  100.0 * (double) r.result.done / (double) (p->to - p->from));
        return 0;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        ((Populating *) userdata)->check = true;
        return 0;
}

/*
 * An upgrade may have replaced the broker with one that keeps a record of suspensions, while the earlier one did not. So call
 * SuspendRegion, which names this process as the one that populates the region. A broker that knows that already changes
 * nothing. A broker without this method still works.
 */
static int on_broker(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        const char *name, *before, *now;
        Populating *p = userdata;

        if (sd_bus_message_read(m, "sss", &name, &before, &now) < 0 || !*now)
                return 0;
        p->check = true;
        if (p->final_mode != 0)
                (void) sd_bus_call_method_async(p->s->bus, NULL, BUS_NAME, BUS_PATH, BUS_MANAGER_INTERFACE,
                                                "SuspendRegion", NULL, NULL, "su", p->name, p->final_mode);
        return 0;
}

static int watch_broker(Populating *p) {
        return sd_bus_add_match(p->s->bus, &p->broker,
                                "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" BUS_NAME "'",
                                on_broker, p);
}

/* Kills the child and waits for it. Does nothing the second time. */
static void end_child(Populating *p) {
        if (p->pid <= 0)
                return;
        (void) kill(p->pid, SIGKILL);
        while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        p->pid = 0;
}

static void populating_done(Populating *p) {
        end_child(p);
        sd_event_source_disable_unref(p->io);
        sd_bus_slot_unref(p->slot);
        sd_bus_slot_unref(p->broker);
        safe_close(p->fd);
}

static int start_child(Populating *p) {
        pid_t parent = getpid();
        int pipes[2], r;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        p->fd = pipes[0];
        p->pid = fork();
        if (p->pid == 0)
                child(p, parent, pipes[1]);
        r = p->pid < 0 ? -errno : 0;
        safe_close(pipes[1]);
        return r < 0 ? r : sd_event_add_io(p->s->event, &p->io, p->fd, EPOLLIN, on_report, p);
}

/* If the broker cannot answer now, it will announce the removal later. */
static void check(Populating *p) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t created = 0;
        int r;

        p->check = false;
        r = client_read_created(p->s->bus, p->name, &created, &error);
        p->removed = r == 0 || (r > 0 && created != p->created_usec);
}

static int say_end(const Populating *p, sd_bus_error *error) {
        const PopulateResult *result = &p->last.result;
        uint64_t all = p->to - p->from;

        if (p->removed)
                return sd_bus_error_setf(error, ERROR_NO_SUCH_REGION, "it was removed while it was being populated");
        if (p->last.kind == REPORT_PROGRESS)
                return sd_bus_error_setf(error, SD_BUS_ERROR_NO_MEMORY,
                                         "the process that was populating it was killed, with %" PRIu64 " of %" PRIu64
                                         " bytes done (out of memory? MemoryMax= of the unit limits the memory, too)",
                                         result->done, all);
        if (p->last.kind == REPORT_ATTACH_FAILED)
                return sd_bus_error_setf(error, SD_BUS_ERROR_FAILED, "cannot attach it to populate it: %s",
                                         strerror(result->error));
        switch (result->end) {
        case POPULATE_DONE:
                return 0;
        case POPULATE_UNAVAILABLE:
                return sd_bus_error_setf(error, SD_BUS_ERROR_NO_MEMORY,
                                         "not enough memory to populate it: %" PRIu64 " of %" PRIu64
                                         " bytes done; see %s",
                                         result->done, all,
                                         p->numa.mode == NUMA_BIND ? "MemFree on the nodes of NUMA= in "
                                                                     "/sys/devices/system/node/node*/meminfo"
                                                                   : "MemAvailable and SwapFree in /proc/meminfo");
        default:
                return sd_bus_error_setf(error, result->error == ENOMEM ? SD_BUS_ERROR_NO_MEMORY : SD_BUS_ERROR_FAILED,
                                         "cannot populate it, %" PRIu64 " of %" PRIu64 " bytes done: %s", result->done,
                                         all, strerror(result->error));
        }
}

int region_populate(Start *s, const PopulateRequest *request, sd_bus_error *error) {
        const char *name = request->name, *path = request->path;
        const RegionFile *f = request->file;
        _cleanup_(populating_done) Populating p = {
                .s = s,
                .name = name,
                .from = request->from,
                .to = request->to,
                .writable = request->writable,
                .final_mode = request->suspended ? (uint32_t) f->mode : 0,
                .fd = -1,
        };
        int backing = f->backing ? backing_parse(f->backing) : BACKING_ANONYMOUS, r;

        if (backing < 0)
                return backing;
        p.backing = (Backing) backing;
        r = f->numa ? numa_parse(f->numa, &p.numa) : 0;
        if (r >= 0)
                r = sd_bus_get_property_trivial(s->bus, BUS_NAME, path, BUS_REGION_INTERFACE, "Address", error, 't',
                                                &p.address);
        if (r >= 0)
                r = sd_bus_get_property_trivial(s->bus, BUS_NAME, path, BUS_REGION_INTERFACE, "Length", error, 't',
                                                &p.window);
        if (r >= 0)
                r = client_watch_removal(s->bus, &p.slot, name, on_removed, &p);
        if (r >= 0)
                r = watch_broker(&p);
        if (r >= 0) {
                r = client_read_created(s->bus, name, &p.created_usec, error);
                p.removed = r == 0;
        }
        if (r >= 0 && !p.removed)
                r = start_child(&p);
        while (r >= 0 && !p.ended && !p.removed && !s->stopped) {
                r = sd_event_run(s->event, UINT64_MAX);
                if (p.check)
                        check(&p);
        }
        if (r < 0)
                return r;
        end_child(&p);
        return s->stopped ? -ECANCELED : say_end(&p, error);
}
