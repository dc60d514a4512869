/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Regions and clients of the fake broker. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#define FAKE_GRANULE (UINT64_C(1) << 30)
#define FAKE_BASE UINT64_C(0x200000000000)
#define FAKE_REGIONS_MAX 64
#define FAKE_CLIENTS_MAX 256

typedef struct Fake Fake;
typedef struct FakeRegion FakeRegion;

typedef struct FakeClient {
        FakeRegion *region; /* NULL: a free place */
        int fd;
        sd_event_source *source;
        uint32_t uid, pid;
        char access[3];
        char owner[64]; /* bus name of the caller */
        uint64_t since;
} FakeClient;

typedef struct FakeRegion {
        Fake *fake;
        char *name;
        uint64_t address, length, size, created;
        uint32_t mode, uid, gid;
        char backing[16], lifetime[16], options[512];
        bool ready;
} FakeRegion;

typedef struct Fake {
        sd_event *event;
        struct sd_bus *bus;
        const char *dir;
        FakeRegion *regions[FAKE_REGIONS_MAX];
        FakeClient clients[FAKE_CLIENTS_MAX];
        uint64_t next_address;
} Fake;

FakeRegion *fake_region_find(Fake *f, const char *name);
/* Negative errno, or 0: the region exists, with its files in f->dir. */
int fake_region_add(Fake *f, const char *name, uint64_t size, FakeRegion **ret);
void fake_region_remove(FakeRegion *r);
/* Nothing maps it any more. */
void fake_region_empty(const FakeRegion *r);
/* The region's file for access "r" or "rw", which the caller closes; or a negative errno. */
int fake_region_open(const FakeRegion *r, const char *access);
uint32_t fake_region_clients(const FakeRegion *r);

/* Makes a lease. The caller passes *ret_fd on and closes it. on_hup is called with the client. */
int fake_client_add(FakeRegion *r, const char *access, uint32_t uid, uint32_t pid, const char *owner,
                    sd_event_io_handler_t on_hup, int *ret_fd);
void fake_client_remove(FakeClient *c);
