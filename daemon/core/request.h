/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "model/record.h"

/* The arguments of CreateRegion. */
typedef struct CreateRequest {
        char *name;
        uint64_t size; /* bytes */
        bool maximum_set;
        uint64_t maximum; /* bytes that the region can grow to */
        mode_t mode;
        bool final_mode_set;
        mode_t final_mode; /* the caller will set it when it has populated the region */
        bool address_set;
        uint64_t address;
        uid_t uid; /* (uid_t) -1: the caller's */
        gid_t gid; /* (gid_t) -1: the caller's */
        Backing backing;
        int fd; /* for BACKING_FILE; create_request_done() closes it */
        bool populate;
        HugePages hugepages;
        NumaPolicy numa;
        Lifetime lifetime;
        uint64_t linger_usec;
        char *label;
} CreateRequest;

/* The arguments of ResizeRegion. */
typedef struct ResizeRequest {
        uint64_t size; /* bytes */
        bool force, populate;
} ResizeRequest;

#define CREATE_REQUEST_INIT                                                                                            \
        { .uid = (uid_t) -1, .gid = (gid_t) -1, .fd = -1 }

/* Frees the members and closes fd. */
void create_request_done(CreateRequest *request);

/*
 * Checks the members against each other: file needs fd, linger needs while-leased, and so on. 0; -EINVAL with *error set; or
 * another negative errno.
 */
int create_request_check(const CreateRequest *request, sd_bus_error *error);
