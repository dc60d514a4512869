/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One lease: a FIFO whose write end the client holds. The FIFO's name is the lease's record. It knows neither bus nor manager.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>

#include "model/lease.h"

#define N_FIELDS 8

void lease_record_done(LeaseRecord *record) {
        free(record->sender);
        free(record->unit);
        *record = (LeaseRecord){};
}

char *lease_record_format(const LeaseRecord *r) {
        const char *unit = r->unit ?: "";
        char *s;
        int n;

        for (;;) {
                n = asprintf(&s, "%016" PRIx64 ",%016" PRIx64 ",%" PRIu32 ",%" PRId32 ",%s,%" PRIu64 ",%s,%s",
                             r->region_id, r->id, (uint32_t) r->uid, (int32_t) r->pid, access_to_string(r->access),
                             r->since_usec, r->sender ?: "", unit);
                if (n < 0)
                        return NULL;
                if (n <= NAME_MAX || !*unit)
                        return s;
                free(s);
                unit = "";
        }
}

int lease_record_parse(const char *name, LeaseRecord *ret) {
        _cleanup_(lease_record_done) LeaseRecord record = {};
        _cleanup_(freep) char *copy = NULL;
        char *fields[N_FIELDS], *p;
        uint32_t pid, uid;
        int access;
        size_t n = 0;

        copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        p = copy;
        while (n < N_FIELDS && p) {
                fields[n++] = p;
                p = strchr(p, ',');
                if (p)
                        *p++ = 0;
        }
        if (n != N_FIELDS || p)
                return -EBADMSG;
        if (strlen(fields[0]) != 16 || strlen(fields[1]) != 16 || parse_u64(fields[0], 16, &record.region_id) < 0 ||
            parse_u64(fields[1], 16, &record.id) < 0 || parse_u32(fields[2], 10, &uid) < 0 ||
            parse_u32(fields[3], 10, &pid) < 0 || parse_u64(fields[5], 10, &record.since_usec) < 0)
                return -EBADMSG;
        access = access_from_string(fields[4]);
        if (access < 0 || uid == UINT32_MAX || pid > INT32_MAX || (*fields[6] && *fields[6] != ':'))
                return -EBADMSG;
        record.uid = uid;
        record.pid = (pid_t) pid;
        record.access = (Access) access;
        if (*fields[6] && free_and_strdup(&record.sender, fields[6]) < 0)
                return -ENOMEM;
        if (*fields[7] && free_and_strdup(&record.unit, fields[7]) < 0)
                return -ENOMEM;
        *ret = record;
        record = (LeaseRecord){};
        return 0;
}

/* If the broker has not just made the file, it may be something other than a FIFO. */
static int open_end(int dirfd, const char *file, int flags, bool made) {
        _cleanup_(closep) int fd = -1;
        struct stat st;

        fd = openat(dirfd, file, flags | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (!made) {
                if (fstat(fd, &st) < 0)
                        return -errno;
                if (!S_ISFIFO(st.st_mode))
                        return -EBADMSG;
        }
        return TAKE_FD(fd);
}

/* ret_write_end is not NULL for a new lease, whose FIFO has just been made. */
static int lease_setup(int dirfd, const char *file, LeaseRecord *record, Lease **ret, int *ret_write_end) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        _cleanup_(closep) int w = -1;
        int r;

        lease = calloc(1, sizeof(*lease));
        if (!lease)
                return -ENOMEM;
        lease->fd = -1;
        r = free_and_strdup(&lease->file, file);
        if (r < 0)
                return r;
        lease->fd = open_end(dirfd, file, O_RDONLY, ret_write_end);
        if (lease->fd < 0)
                return lease->fd;
        /* Needed even if no process holds the lease: a FIFO that had no writer since it was opened reports no hang-up. */
        w = open_end(dirfd, file, O_WRONLY, ret_write_end);
        if (w < 0)
                return w;
        /* Pipe memory counts against the broker's user. One page is enough for a pipe that carries nothing. */
        (void) fcntl(w, F_SETPIPE_SZ, 4096);
        lease->record = *record;
        *record = (LeaseRecord){};
        if (ret_write_end)
                *ret_write_end = TAKE_FD(w);
        *ret = TAKE_PTR(lease);
        return 0;
}

int lease_new(int dirfd, LeaseRecord *record, Lease **ret, int *ret_fd) {
        _cleanup_(freep) char *file = NULL;
        int r;

        file = lease_record_format(record);
        if (!file)
                return -ENOMEM;
        if (mkfifoat(dirfd, file, 0600) < 0)
                return -errno;
        r = lease_setup(dirfd, file, record, ret, ret_fd);
        if (r < 0)
                (void) unlinkat(dirfd, file, 0);
        return r;
}

int lease_open(int dirfd, const char *file, LeaseRecord *record, Lease **ret) {
        return lease_setup(dirfd, file, record, ret, NULL);
}

int lease_watch(Lease *lease, sd_event *event, sd_event_io_handler_t dropped) {
        int r;

        /* No events are requested: what a holder writes is ignored, and a hang-up is always reported. */
        r = sd_event_add_io(event, &lease->source, lease->fd, 0, dropped, lease);
        if (r < 0)
                return r;
        return sd_event_source_set_priority(lease->source, SD_EVENT_PRIORITY_NORMAL - 10);
}

int lease_forget_sender(Lease *lease, int dirfd) {
        _cleanup_(freep) char *file = NULL;

        if (!lease->record.sender)
                return 0;
        (void) free_and_strdup(&lease->record.sender, NULL);
        file = lease_record_format(&lease->record);
        if (!file)
                return -ENOMEM;
        if (renameat(dirfd, lease->file, dirfd, file) < 0)
                return -errno;
        free(lease->file);
        lease->file = TAKE_PTR(file);
        return 0;
}

void lease_free(Lease *lease) {
        if (!lease)
                return;
        sd_event_source_disable_unref(lease->source);
        safe_close(lease->fd);
        lease_record_done(&lease->record);
        free(lease->file);
        free(lease);
}

void lease_drop(Lease *lease, int dirfd) {
        (void) unlinkat(dirfd, lease->file, 0);
        lease_free(lease);
}
