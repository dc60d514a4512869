/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The broker's side of the donor: starts the process, reads its reports, and calls back when it has exited. It knows no
 * regions, only a DonorSpec.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "kernel/donor.h"
#include "kernel/program.h"

#define END_PAUSE_USEC (5 * USEC_PER_MSEC)

struct Donor {
        pid_t pid;
        int fd;
        sd_event *event;
        sd_event_source *io, *child;
        DonorProgress progress;
        DonorDone done;
        void *userdata;
        DonorResult result;
        bool gone; /* the process has been waited for */
};

/* Reads the reports that are in the pipe. A report is shorter than PIPE_BUF, so it is never there in part. */
static void take_reports(Donor *donor) {
        DonorReport report;

        while (read(donor->fd, &report, sizeof(report)) == sizeof(report))
                switch (report.kind) {
                case DONOR_CREATED:
                        donor->result.created = true;
                        break;
                case DONOR_PROGRESS:
                        donor->progress(report.value, donor->userdata);
                        break;
                case DONOR_FAILED:
                        if (report.stage < _DONOR_STAGE_MAX)
                                donor->result.stage = (DonorStage) report.stage;
                        donor->result.error = report.error;
                        donor->result.value = report.value;
                        break;
                case DONOR_DONE:
                        donor->result.done = true;
                        break;
                default:
                        break;
                }
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Donor *donor = userdata;

        take_reports(donor);
        /* The pipe hangs up when the donor exits, and on_exit_of() handles that. */
        if (revents & (EPOLLHUP | EPOLLERR))
                (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
}

static int on_exit_of(sd_event_source *source, const siginfo_t *si, void *userdata) {
        Donor *donor = userdata;

        donor->gone = true;
        take_reports(donor);
        if (si->si_code != CLD_EXITED || si->si_status != EXIT_SUCCESS)
                donor->result.done = false;
        donor->done(&donor->result, donor->userdata);
        return 0;
}

static int on_orphan(sd_event_source *source, const siginfo_t *si, void *userdata) {
        sd_event_source_unref(source);
        return 0;
}

/*
 * By default, such a source fires once. libsystemd 252 then arms the process's descriptor for one event, and loses that event
 * if it arrives while libsystemd handles sources of a higher priority. The exit would never be reported. libsystemd sets up the
 * descriptor only when a source that is off is enabled, so the source is switched off and on.
 */
static int watch_exit(sd_event *event, sd_event_source **ret, pid_t pid, sd_event_child_handler_t callback,
                      void *userdata) {
        int r;

        r = sd_event_add_child(event, ret, pid, WEXITED, callback, userdata);
        if (r >= 0)
                r = sd_event_source_set_enabled(*ret, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_enabled(*ret, SD_EVENT_ON);
        return r;
}

/* The donor's descriptors; -1: it gets none. */
typedef struct DonorFds {
        int report, message, lock, file;
} DonorFds;

static void donor_fds_done(DonorFds *fds) {
        fds->report = safe_close(fds->report);
        fds->message = safe_close(fds->message);
        fds->lock = safe_close(fds->lock);
        fds->file = safe_close(fds->file);
}

/* Duplicates fd to a number above those that the child uses. */
static int copy_fd(int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, DONOR_FILE_FD + 1);

        return copy < 0 ? -errno : copy;
}

/* Like copy_fd(), and closes fd. */
static int move_fd(int fd) {
        int r = copy_fd(fd);

        safe_close(fd);
        return r;
}

static int spawn(const DonorSpec *spec, const DonorFds *fds, pid_t *ret) {
        /* The name is an argument only so that an administrator sees it in the list of processes. */
        char *argv[] = { (char *) "mshared", (char *) "--donor", (char *) spec->name, NULL };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        sigset_t none;
        int r;

        (void) sigemptyset(&none);

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawnattr_init(&attributes);
        if (r != 0) {
                (void) posix_spawn_file_actions_destroy(&actions);
                return -r;
        }
        /* The event loop blocks the signals that it reads. The donor must not inherit that, so that it can be killed. */
        r = posix_spawnattr_setsigmask(&attributes, &none);
        if (r == 0)
                r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, fds->report, DONOR_REPORT_FD);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, fds->message, DONOR_MESSAGE_FD);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, fds->lock, DONOR_LOCK_FD);
        if (r == 0 && fds->file >= 0)
                r = posix_spawn_file_actions_adddup2(&actions, fds->file, DONOR_FILE_FD);
        if (r == 0)
                r = posix_spawn(ret, program_path(), &actions, &attributes, argv, environ);
        (void) posix_spawnattr_destroy(&attributes);
        (void) posix_spawn_file_actions_destroy(&actions);
        return -r;
}

static Donor *donor_new(sd_event *event, DonorProgress progress, DonorDone done, void *userdata) {
        Donor *donor = calloc(1, sizeof(*donor));

        if (donor)
                *donor = (Donor){
                        .fd = -1,
                        .event = event,
                        .progress = progress,
                        .done = done,
                        .userdata = userdata,
                        .gone = true,
                };
        return donor;
}

/*
 * Write the message into the donor's pipe before the donor starts, so that neither process waits. Then the donor has the whole
 * message even if the broker is killed.
 */
static int open_message(const DonorSpec *spec) {
        DonorMessage message = { .spec = *spec };
        size_t n = strlen(spec->name);
        int pipes[2], r;

        _Static_assert(sizeof(message) <= PIPE_BUF, "one write() that does not wait");
        if (n >= sizeof(message.name))
                return -ENAMETOOLONG;
        message.spec.name = NULL;
        message.spec.fd = spec->fd < 0 ? -1 : DONOR_FILE_FD;
        message.spec.lock = DONOR_LOCK_FD;
        memcpy(message.name, spec->name, n);
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        r = write(pipes[1], &message, sizeof(message)) == sizeof(message) ? 0 : -EIO;
        safe_close(pipes[1]);
        if (r < 0) {
                safe_close(pipes[0]);
                return r;
        }
        return move_fd(pipes[0]);
}

int donor_start(sd_event *event, const DonorSpec *spec, DonorProgress progress, DonorDone done, void *userdata,
                Donor **ret) {
        _cleanup_(donor_fds_done) DonorFds fds = { -1, -1, -1, -1 };
        _cleanup_(donor_freep) Donor *donor = NULL;
        int pipes[2], r;

        donor = donor_new(event, progress, done, userdata);
        if (!donor)
                return -ENOMEM;
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        donor->fd = pipes[0];
        fds.report = move_fd(pipes[1]);
        if (fds.report < 0)
                return fds.report;
        if (fcntl(donor->fd, F_SETFL, O_NONBLOCK) < 0)
                return -errno;
        fds.message = open_message(spec);
        if (fds.message < 0)
                return fds.message;
        fds.lock = copy_fd(spec->lock);
        if (fds.lock < 0)
                return fds.lock;
        if (spec->fd >= 0) {
                fds.file = copy_fd(spec->fd);
                if (fds.file < 0)
                        return fds.file;
        }
        r = sd_event_add_io(event, &donor->io, donor->fd, EPOLLIN, on_io, donor);
        if (r < 0)
                return r;
        r = spawn(spec, &fds, &donor->pid);
        if (r < 0)
                return r;
        donor->gone = false;
        r = watch_exit(event, &donor->child, donor->pid, on_exit_of, donor);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(donor);
        return 0;
}

void donor_kill(Donor *donor) {
        if (!donor->gone)
                (void) kill(donor->pid, SIGKILL);
}

void donor_end(Donor *donor, uint64_t deadline_usec) {
        pid_t r;

        if (donor->gone)
                return;
        donor->child = sd_event_source_disable_unref(donor->child);
        (void) kill(donor->pid, SIGKILL);
        while ((r = waitpid(donor->pid, NULL, WNOHANG)) == 0 || (r < 0 && errno == EINTR)) {
                if (usec_now(CLOCK_MONOTONIC) >= deadline_usec)
                        break;
                (void) usleep(END_PAUSE_USEC);
        }
        donor->gone = true;
        take_reports(donor);
        donor->result.done = false;
        donor->result.stays = r == 0;
        donor->done(&donor->result, donor->userdata);
}

void donor_free(Donor *donor) {
        if (!donor)
                return;
        sd_event_source_disable_unref(donor->io);
        sd_event_source_disable_unref(donor->child);
        if (!donor->gone) {
                sd_event_source *orphan = NULL;

                (void) kill(donor->pid, SIGKILL);
                /* The process must be reaped, but not now: waiting here would block. */
                if (watch_exit(donor->event, &orphan, donor->pid, on_orphan, NULL) < 0) {
                        sd_event_source_disable_unref(orphan);
                        (void) waitpid(donor->pid, NULL, 0);
                }
        }
        safe_close(donor->fd);
        free(donor);
}
