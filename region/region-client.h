/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/util.h"
#include "names.h"
#include "region-file.h"

/*
 * The calls to the broker that the commands share. They return 0 or negative errno, with *error set if the broker or the bus
 * has answered with an error. They wait for the answer, unless they say otherwise.
 */

/* How often to check whether a region that another caller creates is ready, and whether the broker is back. */
#define LOOK_AGAIN_USEC (200 * USEC_PER_MSEC)

/* Calls a method of the manager, without a time limit. The first argument is the region's name. reply may be NULL. */
int client_call(sd_bus *bus, sd_bus_error *error, sd_bus_message **reply, const char *method, const char *types, ...);
/*
 * Appends the options of CreateRegion, without "populate". final_mode is the mode that the caller will set, or 0: no such
 * option. fd is for Backing=file and is borrowed, or is -1. Does not call the broker.
 */
int client_append_options(sd_bus_message *m, const RegionFile *f, const Owner *owner, mode_t final_mode, int fd);
/* The object path of a region, to be freed. */
int client_get_path(sd_bus *bus, const char *name, char **ret, sd_bus_error *error);
/*
 * Sets owner and mode of a region to those in the file. At no time does the region admit a user that it admits neither before
 * nor afterwards.
 */
int client_apply(sd_bus *bus, const char *name, const char *path, mode_t mode, const Owner *owner, sd_bus_error *error);
/*
 * Removes the region even if processes are attached: units that need it have been stopped. A region that does not exist is no
 * error, unless msharefs is not mounted.
 */
int client_remove_region(sd_bus *bus, const char *name, sd_bus_error *error);
/*
 * Reads when the region of that name was created, which distinguishes it from a later one. 1; 0 if there is none; or negative
 * errno with *error set if the broker cannot say.
 */
int client_read_created(sd_bus *bus, const char *name, uint64_t *ret, sd_bus_error *error);
/*
 * Calls perhaps() when the region of that name may have been removed. Every user of the bus can send such a signal, so
 * perhaps() must ask the broker. ret_slot may be NULL: then this lasts as long as the bus.
 */
int client_watch_removal(sd_bus *bus, sd_bus_slot **ret_slot, const char *name, sd_bus_message_handler_t perhaps,
                         void *userdata);
/* Whether the error means that no broker was there to answer. */
bool client_is_away(const sd_bus_error *error);
/* The exit status of a command that ends with r; prints what failed. */
int client_finish(const char *what, const char *name, int r, const sd_bus_error *error);

/* A start under way. */
typedef struct Start {
        sd_event *event;
        sd_bus *bus;
        sd_bus_message *reply; /* to CreateRegion */
        bool stopped; /* by a signal */
} Start;

/* Blocks SIGTERM and SIGINT, which set `stopped` from now on, and connects to the bus. 0 or negative errno. */
int start_open(Start *s);
void start_done(Start *s);
/* Waits until a signal or the reply arrives, at most for this time; UINT64_MAX: no limit. */
int start_wait(Start *s, uint64_t usec);
