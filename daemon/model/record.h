/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/util.h"
#include "kinds.h"
#include "numa.h"

#define STATE_FILE_MAX (16 * 1024)
#define LABEL_MAX 256
#define HOLDER_MAX 320 /* an ID of 32 digits, and a name of at most 255 */

/* What the broker must remember about a region because the kernel does not. Each is a file in /run/mshared/regions/. */
typedef struct RegionRecord {
        char *name;
        uint64_t id; /* distinguishes this region's leases from those of an earlier region with the same name */
        uint64_t address, length, size; /* bytes */
        uint64_t extent; /* while the size changes: the end of what may be mapped, beyond size, in bytes; else 0 */
        mode_t mode; /* the mode, or the future mode of a region that is being created */
        mode_t final_mode; /* while the mode is 0: the mode that the holder will set; 0: not known */
        /* While there is a final mode: the connection that will set it, as BUS-ID:UNIQUE-NAME; NULL: not known. */
        char *holder;
        /*
         * With a holder: whether the region was there before. If the holder leaves, the region has this mode and owner again; a
         * region that was created closed is removed.
         */
        bool has_before;
        mode_t before_mode;
        uid_t before_uid;
        gid_t before_gid;
        uid_t uid;
        gid_t gid;
        uid_t creator; /* the user that created it, even if another one owns it now; (uid_t) -1 if not known */
        Backing backing;
        HugePages hugepages;
        NumaPolicy numa;
        Lifetime lifetime;
        uint64_t linger_usec;
        uint64_t created_usec; /* CLOCK_REALTIME */
        uint64_t inode; /* of the file in msharefs, 0 as long as that is not known */
        char *label; /* or NULL */
        bool ready; /* false while it is being created */
        bool leased; /* has had a client */
        char *others; /* lines with unknown keys, from a later version, which are kept; or NULL */
        bool has_id, has_size, has_window, has_created,
                has_ready; /* after region_record_parse(): whether the text had a valid value */
} RegionRecord;

/* The bytes that the region may use, which are charged to its creator. */
static inline uint64_t region_record_held(const RegionRecord *record) {
        return record->extent > record->size ? record->extent : record->size;
}

void region_record_done(RegionRecord *record);

/* Ends a suspension: forgets the final mode, the holder and the state before. */
void region_record_resume(RegionRecord *record);
/*
 * Forgets the state before the suspension, because a process other than the holder has set owner or mode. The region then stays
 * closed when the holder leaves.
 */
void region_record_overrule(RegionRecord *record);
/*
 * Whether the region's owner is the one before its suspension. Then no other process has set it: the broker may have been
 * killed after it had restored this owner, and before it restored the mode.
 */
bool region_record_has_owner_before(const RegionRecord *record);

/* The text of the state file, to be freed, or NULL without memory. */
char *region_record_format(const RegionRecord *record);

/*
 * Reads such a text (which is changed). The text may come from another version or be damaged: each value is checked, alone and
 * against the others. Returns 0 if all values were valid, or 1. Then the has_ members say which of ID, size, window, time and
 * readiness can be used; mode and owner must be taken from the kernel; any other value that was not valid is zero, NULL or
 * "unknown", except that LINGER= and LEASED= keep the first value if they occur twice. -ENOMEM with nothing in *ret.
 */
int region_record_parse(char *text, RegionRecord *ret);
