/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "model/state.h"

/* What CreateRegion was asked for. */
typedef struct CreateRequest {
        char *name;
        uint64_t size; /* bytes */
        bool maximum_set;
        uint64_t maximum; /* bytes that the region can grow to */
        mode_t mode;
        bool address_set;
        uint64_t address;
        uid_t uid; /* (uid_t) -1: the caller's */
        gid_t gid; /* (gid_t) -1: the caller's */
        Backing backing;
        int fd; /* for BACKING_FILE: ours to close */
        bool populate;
        HugePages hugepages;
        NumaPolicy numa;
        Lifetime lifetime;
        uint64_t linger_usec;
        char *label;
} CreateRequest;

/* What ResizeRegion was asked for. */
typedef struct ResizeRequest {
        uint64_t size; /* bytes */
        bool force, populate;
} ResizeRequest;

#define CREATE_REQUEST_INIT                                                                                            \
        { .uid = (uid_t) -1, .gid = (gid_t) -1, .fd = -1 }

void create_request_done(CreateRequest *request);

/*
 * Read the options map at the message's position. Unknown, repeated and ill-typed keys, and values outside their
 * range, fail with an error that names them; *request may then hold part of them. Return 0 or negative errno with
 * *error set.
 */
int options_read_create(sd_bus_message *m, CreateRequest *request, sd_bus_error *error);
int options_read_remove(sd_bus_message *m, bool *ret_force, sd_bus_error *error);
int options_read_resize(sd_bus_message *m, ResizeRequest *request, sd_bus_error *error);
int options_read_none(sd_bus_message *m, sd_bus_error *error);

/* What the options are to each other: file needs fd, linger needs while-leased, and so on. */
int create_request_check(const CreateRequest *request, sd_bus_error *error);
