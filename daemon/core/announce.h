/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "core/region.h"

/* What bus/ keeps for itself. The manager has the pointer, so that these functions find it; bus/ creates and frees it. */
typedef struct Face Face;

/*
 * Announces changes. The functions are in bus/announce.c, and these declarations are all that the core knows of bus/. None of
 * them fails: if a change of properties cannot be sent, that is logged; any other signal is dropped.
 */
/* Sets bits of `dirty`. What is dirty is announced together, a little later. */
void manager_mark(Manager *manager, unsigned dirty);
void region_mark(Region *region, unsigned dirty);
void manager_announce_region(Manager *manager, Region *region);
void manager_announce_removal(Manager *manager, const char *name, const char *path);
/* For a region that was never announced, but whose object GetManagedObjects has listed. */
void manager_announce_end(Manager *manager, const char *path);
/* member is the name of the signal: "ClientAcquired" or "ClientReleased". */
void manager_announce_client(Manager *manager, const char *member, const char *region, uid_t uid);
/* Sets what "systemctl status" shows; with ready, also tells systemd that the start is complete. */
void manager_tell_status(Manager *manager, bool ready);
/* Announces now what is dirty. */
void manager_flush(Manager *manager);
