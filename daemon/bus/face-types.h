/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "core/announce.h"
#include "calls/authz.h"

/* The types that the files of bus/ share. */

/*
 * A method of an interface; an empty entry ends a list of them. A method that may ask polkit or wait for a donor has a step for
 * authz_run(), any other method of the broker has a handler, and a method that the library answers has neither.
 */
typedef struct FaceMethod {
        const char *member, *signature;
        CallStep step;
        sd_bus_message_handler_t handler;
} FaceMethod;

/*
 * An interface lists its methods once, in a macro METHODS(METHOD) of METHOD()s with commas between them. Their arguments are:
 * member, signature and names of the arguments, signature and names of the results, and ".step = F" or ".handler = F". The
 * names are SD_BUS_PARAM()s, or "" if there are none. METHODS(FACE_METHOD) is a list of FaceMethods, and METHODS(FACE_VTABLE)
 * the same for sd-bus, with the function method() of that file for all of them.
 */
#define FACE_METHOD(member, signature, arguments, result, results, function)                                           \
        { member, signature, function }
#define FACE_VTABLE(member, signature, arguments, result, results, function)                                           \
        SD_BUS_METHOD_WITH_NAMES(member, signature, arguments, result, results, method, SD_BUS_VTABLE_UNPRIVILEGED)

typedef struct FaceInterface {
        const char *name;
        const FaceMethod *methods;
} FaceInterface;

typedef struct CallCounts CallCounts;

/* What bus/ keeps: core/announce.h. */
struct Face {
        CallCounts *call_counts; /* call-counts.h */
        sd_event_source *notify; /* the timer that announces what is dirty */
        bool broadcasting; /* a signal is being built, which every user can read */
};
