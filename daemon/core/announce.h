/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/region.h"

/*
 * Tells the outside world about changes. The functions are in bus/announce.c. These declarations are all that the core knows of
 * bus/. They never fail: a signal that cannot be sent is logged.
 */
void manager_mark(Manager *manager, unsigned dirty);
void region_mark(Region *region, unsigned dirty);
void manager_announce_region(Manager *manager, Region *region);
void manager_announce_removal(Manager *manager, const char *name, const char *path);
/* For a region that was never announced, but whose object GetManagedObjects has listed. */
void manager_announce_end(Manager *manager, const char *path);
void manager_announce_client(Manager *manager, const char *member, const char *region, uid_t uid);
/* Sets what "systemctl status" shows; with ready, also tells systemd that the start is complete. */
void manager_tell_status(Manager *manager, bool ready);
/* Announces now what is dirty. */
void manager_flush(Manager *manager);
