/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "names.h"
#include "unit/region-unit.h"

/* The calls to the broker that mshare-region@.service's commands share. They wait for the answer, unless they say otherwise. */

/* How often to look whether a region that another caller makes is ready, and whether the broker is back. */
#define LOOK_AGAIN_USEC (200 * USEC_PER_MSEC)

typedef struct Owner {
        uint32_t uid, gid;
} Owner;

/* region-unit.c: reads the file of the region's unit. 0, or negative errno after saying on standard error what is wrong. */
int unit_load_file(const char *name, RegionFile *ret);
/* The owner that the file names; errors as above. */
int unit_resolve(const RegionFile *file, Owner *ret);
/* The exit status of a command that ends with r; says what failed. */
int unit_finish(const char *what, const char *name, int r, const sd_bus_error *error);

/* Calls a method of the manager; the first argument is the region's name. */
int client_call(sd_bus *bus, sd_bus_error *error, sd_bus_message **reply, const char *method, const char *types, ...);
/* The options of CreateRegion. fd is for Backing=file and is borrowed, or is -1. */
int client_append_options(sd_bus_message *m, const RegionFile *f, const Owner *owner, int fd);
/* The object of a region, to be freed. */
int client_get_path(sd_bus *bus, const char *name, char **ret, sd_bus_error *error);
/* Sets owner and mode of a region to those in the file. No user is admitted in between that is admitted neither before nor after. */
int client_apply(sd_bus *bus, const char *name, const char *path, mode_t mode, const Owner *owner, sd_bus_error *error);
/* Removes the region even if processes are attached: units that need it have been stopped. */
int client_remove_region(sd_bus *bus, const char *name, sd_bus_error *error);

/* A start under way. */
typedef struct Start {
        sd_event *event;
        sd_bus *bus;
        sd_bus_message *reply; /* to CreateRegion */
        bool stopped; /* by a signal */
} Start;

int start_open(Start *s);
void start_done(Start *s);
/* Waits until a signal or the reply arrives, at most for this time. */
int start_wait(Start *s, uint64_t usec);
/*
 * region-take.c: there is a region of the declared name. Makes it the declared one, or refuses with *error set. Waits if it is
 * still being made.
 */
int start_take_existing(Start *s, const char *name, const RegionFile *f, const Owner *owner, sd_bus_error *error);
/*
 * region-keep.c: tells systemd that the start is over, and returns when the region is gone, for whatever reason. If the
 * unit is stopped first, removes the region and sets *ret_removed. The bus and the broker may come and go meanwhile.
 */
int start_keep(Start *s, const char *name, bool *ret_removed, sd_bus_error *error);
