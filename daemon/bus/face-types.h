/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "core/announce.h"

/* The types that the files of bus/ share. */

typedef struct CallCounts CallCounts;

/* What bus/ keeps: core/announce.h. */
struct Face {
        CallCounts *call_counts; /* call-counts.h */
        sd_event_source *notify; /* the timer that announces what is dirty */
        bool broadcasting; /* a signal is being built, which every user can read */
};
