/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Regions and clients of the fake broker: two files for each region, and a pipe for each client. It uses no bus. */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>

#include "fake-region.h"
#include "mshare.h"
#include "util.h"

static uint64_t now_usec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

FakeRegion *fake_region_find(Fake *f, const char *name) {
        size_t i;

        for (i = 0; i < FAKE_REGIONS_MAX; i++)
                if (f->regions[i] && streq(f->regions[i]->name, name))
                        return f->regions[i];
        return NULL;
}

static int make_files(const FakeRegion *r) {
        const struct mshare_info info = { .start = r->address, .size = r->length };
        _cleanup_(closep) int fd = -1, mem = -1;
        char path[4096];

        (void) snprintf(path, sizeof(path), "%s/%s", r->fake->dir, r->name);
        fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
                return -xerrno();
        if (write(fd, &info, sizeof(info)) != sizeof(info))
                return -EIO;

        (void) snprintf(path, sizeof(path), "%s/%s.mem", r->fake->dir, r->name);
        mem = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (mem < 0 || ftruncate(mem, (off_t) r->length) < 0)
                return -xerrno();
        return 0;
}

int fake_region_add(Fake *f, const char *name, uint64_t size, FakeRegion **ret) {
        FakeRegion *r;
        size_t i;
        int k;

        for (i = 0; f->regions[i]; i++)
                if (i + 1 == FAKE_REGIONS_MAX)
                        return -ENOSPC;

        r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        r->fake = f;
        r->name = strdup(name);
        r->size = size;
        r->length = (size + FAKE_GRANULE - 1) / FAKE_GRANULE * FAKE_GRANULE;
        r->address = f->next_address;
        r->created = now_usec();
        r->ready = true;
        strcpy(r->backing, "anonymous");
        strcpy(r->lifetime, "persistent");
        f->next_address += r->length;
        f->regions[i] = r;

        k = r->name ? make_files(r) : -ENOMEM;
        if (k < 0) {
                fake_region_remove(r);
                return k;
        }
        *ret = r;
        return 0;
}

void fake_region_remove(FakeRegion *r) {
        Fake *f = r->fake;
        char path[4096];
        size_t i;

        for (i = 0; i < FAKE_CLIENTS_MAX; i++)
                if (f->clients[i].region == r)
                        fake_client_remove(f->clients + i);
        for (i = 0; i < FAKE_REGIONS_MAX; i++)
                if (f->regions[i] == r)
                        f->regions[i] = NULL;

        if (r->name) {
                (void) snprintf(path, sizeof(path), "%s/%s", f->dir, r->name);
                (void) unlink(path);
                (void) snprintf(path, sizeof(path), "%s/%s.mem", f->dir, r->name);
                (void) unlink(path);
        }
        free(r->name);
        free(r);
}

void fake_region_empty(const FakeRegion *r) {
        char path[4096];

        (void) snprintf(path, sizeof(path), "%s/%s.mem", r->fake->dir, r->name);
        (void) unlink(path);
}

int fake_region_open(const FakeRegion *r, const char *access) {
        char path[4096];
        int fd;

        (void) snprintf(path, sizeof(path), "%s/%s", r->fake->dir, r->name);
        fd = open(path, (streq(access, "rw") ? O_RDWR : O_RDONLY) | O_CLOEXEC);
        return fd < 0 ? -xerrno() : fd;
}

uint32_t fake_region_clients(const FakeRegion *r) {
        uint32_t n = 0;
        size_t i;

        for (i = 0; i < FAKE_CLIENTS_MAX; i++)
                n += r->fake->clients[i].region == r;
        return n;
}

int fake_client_add(FakeRegion *r, const char *access, uint32_t uid, uint32_t pid, const char *owner,
                    sd_event_io_handler_t on_hup, int *ret_fd) {
        Fake *f = r->fake;
        FakeClient *c;
        int fds[2], k;
        size_t i;

        for (i = 0; f->clients[i].region; i++)
                if (i + 1 == FAKE_CLIENTS_MAX)
                        return -ENOSPC;
        c = f->clients + i;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -xerrno();

        k = sd_event_add_io(f->event, &c->source, fds[0], EPOLLHUP, on_hup, c);
        if (k < 0) {
                (void) close(fds[0]);
                (void) close(fds[1]);
                return k;
        }
        /* As the contract requires of the broker: a death is noticed before the next request. */
        (void) sd_event_source_set_priority(c->source, SD_EVENT_PRIORITY_NORMAL - 10);

        c->region = r;
        c->fd = fds[0];
        c->uid = uid;
        c->pid = pid;
        c->since = now_usec();
        (void) snprintf(c->access, sizeof(c->access), "%s", access);
        (void) snprintf(c->owner, sizeof(c->owner), "%s", owner);
        *ret_fd = fds[1];
        return 0;
}

void fake_client_remove(FakeClient *c) {
        sd_event_source_disable_unref(c->source);
        (void) close(c->fd);
        memset(c, 0, sizeof(*c));
}
