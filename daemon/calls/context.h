/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "basic/log.h"
#include "model/limits.h"

/* What calls have to do with in the broker. All members are borrowed, for as long as what is created with them exists. */
typedef struct CallContext {
        sd_bus *bus;
        sd_event *event;
        Log *log;
        Users *users;
        const Limits *limits;
        const unsigned *n_leases; /* the number of leases, each of which has a descriptor */
} CallContext;
