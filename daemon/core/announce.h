/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/region.h"

/*
 * What the core tells the outside world. The functions are in bus/announce.c; the core knows only these declarations, and
 * nothing else of bus/. They never fail: a signal that cannot be sent is logged.
 */
void manager_mark(Manager *manager, unsigned dirty);
void region_mark(Region *region, unsigned dirty);
void manager_announce_region(Manager *manager, Region *region);
void manager_announce_removal(Manager *manager, const char *name, const char *path);
/* A region that was never announced: the end of an object that GetManagedObjects has listed. */
void manager_announce_end(Manager *manager, const char *path);
void manager_announce_client(Manager *manager, const char *member, const char *region, uid_t uid);
/* What "systemctl status" shows; with ready, that the start is over as well. */
void manager_tell_status(Manager *manager, bool ready);
/* Tells at once what is dirty. */
void manager_flush(Manager *manager);
