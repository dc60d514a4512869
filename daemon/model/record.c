/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The record of a region as the text of its state file. It reads and writes text, but no files, and knows no kernel. */

#include <errno.h>
#include <inttypes.h>

#include "mode.h"
#include "model/name.h"
#include "model/record.h"

void region_record_done(RegionRecord *record) {
        free(record->name);
        free(record->label);
        free(record->others);
        free(record->holder);
        *record = (RegionRecord){};
}

void region_record_resume(RegionRecord *record) {
        record->final_mode = 0;
        free(TAKE_PTR(record->holder));
        record->has_before = false;
}

void region_record_overrule(RegionRecord *record) {
        record->before_mode = 0;
        record->before_uid = record->uid;
        record->before_gid = record->gid;
}

bool region_record_has_owner_before(const RegionRecord *record) {
        return record->has_before && record->uid == record->before_uid && record->gid == record->before_gid;
}

char *region_record_format(const RegionRecord *r) {
        _cleanup_(freep) char *name = NULL, *label = NULL;
        char *text, numa[NUMA_TEXT_MAX], extent[40] = "", final_mode[24] = "", before[48] = "";
        int k;

        name = line_escape(r->name);
        label = line_escape(r->label ?: "");
        if (!name || !label)
                return NULL;
        if (r->extent > 0)
                (void) snprintf(extent, sizeof(extent), "EXTENT=%" PRIu64 "\n", r->extent);
        if (r->final_mode != 0)
                (void) snprintf(final_mode, sizeof(final_mode), "FINAL_MODE=%03o\n", (unsigned) r->final_mode);
        if (r->holder && !r->has_before)
                (void) snprintf(before, sizeof(before), "BEFORE=none\n");
        else if (r->holder)
                (void) snprintf(before, sizeof(before), "BEFORE=%03o:%" PRIu32 ":%" PRIu32 "\n",
                                (unsigned) r->before_mode, (uint32_t) r->before_uid, (uint32_t) r->before_gid);
        k = asprintf(&text,
                     "# This is private data of mshared. Do not parse.\n"
                     "VERSION=1\nNAME=%s\nID=%016" PRIx64 "\nADDRESS=%" PRIu64 "\nLENGTH=%" PRIu64 "\nSIZE=%" PRIu64
                     "\nMODE=%03o\nUID=%" PRIu32 "\nGID=%" PRIu32 "\nCREATOR=%" PRIu32
                     "\nBACKING=%s\nHUGEPAGES=%s\nNUMA=%s\nLIFETIME=%s\nLINGER=%" PRIu64 "\nCREATED=%" PRIu64
                     "\nINODE=%" PRIu64 "\nLABEL=%s\nREADY=%d\nLEASED=%d\n%s%s%s%s%s%s%s",
                     name, r->id, r->address, r->length, r->size, (unsigned) r->mode, (uint32_t) r->uid,
                     (uint32_t) r->gid, (uint32_t) r->creator, backing_to_string(r->backing),
                     hugepages_to_string(r->hugepages), numa_format(&r->numa, numa), lifetime_to_string(r->lifetime),
                     r->linger_usec, r->created_usec, r->inode, label, r->ready, r->leased, extent, final_mode,
                     r->holder ? "HOLDER=" : "", r->holder ?: "", r->holder ? "\n" : "", before, r->others ?: "");
        return k < 0 ? NULL : text;
}

enum Key {
        KEY_VERSION,
        KEY_NAME,
        KEY_ID,
        KEY_ADDRESS,
        KEY_LENGTH,
        KEY_SIZE,
        KEY_MODE,
        KEY_UID,
        KEY_GID,
        KEY_CREATOR,
        KEY_BACKING,
        KEY_HUGEPAGES,
        KEY_NUMA,
        KEY_LIFETIME,
        KEY_LINGER,
        KEY_CREATED,
        KEY_INODE,
        KEY_LABEL,
        KEY_READY,
        KEY_LEASED,
        KEY_EXTENT,
        KEY_FINAL_MODE,
        KEY_HOLDER,
        KEY_BEFORE,
        _KEY_MAX,
};

static const char *const keys[_KEY_MAX] = {
        "VERSION", "NAME",    "ID",      "ADDRESS",   "LENGTH", "SIZE",       "MODE",   "UID",
        "GID",     "CREATOR", "BACKING", "HUGEPAGES", "NUMA",   "LIFETIME",   "LINGER", "CREATED",
        "INODE",   "LABEL",   "READY",   "LEASED",    "EXTENT", "FINAL_MODE", "HOLDER", "BEFORE",
};

static int assign_enum(int value, unsigned *ret) {
        if (value < 0)
                return value;
        *ret = (unsigned) value;
        return 0;
}

/* Accepts the characters of unique names and of IDs. */
static int assign_holder(const char *value, char **ret) {
        static const char ok[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.:";

        if (strlen(value) > HOLDER_MAX || !strchr(value, ':') || value[strspn(value, ok)])
                return -EINVAL;
        return free_and_strdup(ret, value);
}

static int assign_before(const char *value, RegionRecord *r) {
        char mode[8], uid[16], gid[16], end;
        uint32_t u, g;
        int k;

        if (streq(value, "none"))
                return 0;
        if (sscanf(value, "%7[0-7]:%15[0-9]:%15[0-9]%c", mode, uid, gid, &end) != 3)
                return -EINVAL;
        k = parse_mode(mode, &r->before_mode);
        if (k >= 0)
                k = parse_u32(uid, 10, &u);
        if (k >= 0)
                k = parse_u32(gid, 10, &g);
        if (k < 0)
                return k;
        r->before_uid = u;
        r->before_gid = g;
        r->has_before = true;
        return 0;
}

static int assign(RegionRecord *r, enum Key key, const char *value) {
        uint64_t version;

        switch (key) {
        case KEY_VERSION:
                /* In files of later versions, the keys that this version knows have the same meaning. */
                return parse_u64(value, 10, &version);
        case KEY_NAME:
                return line_unescape(value, &r->name);
        case KEY_ID:
                return parse_u64(value, 16, &r->id);
        case KEY_ADDRESS:
                return parse_u64(value, 10, &r->address);
        case KEY_LENGTH:
                return parse_u64(value, 10, &r->length);
        case KEY_SIZE:
                return parse_u64(value, 10, &r->size);
        case KEY_MODE:
                return parse_mode(value, &r->mode);
        case KEY_UID:
                return parse_u32(value, 10, &r->uid);
        case KEY_GID:
                return parse_u32(value, 10, &r->gid);
        case KEY_CREATOR:
                return parse_u32(value, 10, &r->creator);
        case KEY_BACKING:
                return assign_enum(backing_from_string(value), &r->backing);
        case KEY_HUGEPAGES:
                return assign_enum(hugepages_from_string(value), &r->hugepages);
        case KEY_NUMA:
                return numa_parse(value, &r->numa);
        case KEY_LIFETIME:
                return assign_enum(lifetime_parse(value), &r->lifetime);
        case KEY_LINGER:
                return parse_u64(value, 10, &r->linger_usec);
        case KEY_CREATED:
                return parse_u64(value, 10, &r->created_usec);
        case KEY_INODE:
                return parse_u64(value, 10, &r->inode);
        case KEY_LABEL:
                return *value ? line_unescape(value, &r->label) : 0;
        case KEY_READY:
                return parse_bool(value, &r->ready);
        case KEY_LEASED:
                return parse_bool(value, &r->leased);
        case KEY_EXTENT:
                return parse_u64(value, 10, &r->extent);
        case KEY_FINAL_MODE:
                return parse_mode(value, &r->final_mode);
        case KEY_HOLDER:
                return assign_holder(value, &r->holder);
        case KEY_BEFORE:
                return assign_before(value, r);
        default:
                return -EINVAL;
        }
}

static int key_from_string(const char *s) {
        for (int i = 0; i < _KEY_MAX; i++)
                if (streq(keys[i], s))
                        return i;
        return -EINVAL;
}

/* Treats impossible values as not read. */
static void check(RegionRecord *r, bool *seen) {
        uint64_t end;

        if (seen[KEY_NAME] && !region_name_is_adoptable(r->name))
                seen[KEY_NAME] = false;
        if (r->label && strlen(r->label) > LABEL_MAX)
                seen[KEY_LABEL] = false;
        if (r->uid == (uid_t) -1)
                seen[KEY_UID] = false;
        if (r->gid == (gid_t) -1)
                seen[KEY_GID] = false;
        if (!seen[KEY_ADDRESS] || !seen[KEY_LENGTH] || r->length == 0 ||
            __builtin_add_overflow(r->address, r->length, &end))
                seen[KEY_ADDRESS] = seen[KEY_LENGTH] = false;
        if (r->size == 0 || (seen[KEY_LENGTH] && r->size > r->length))
                seen[KEY_SIZE] = false;
        if (!seen[KEY_SIZE] || r->extent <= r->size || (seen[KEY_LENGTH] && r->extent > r->length))
                seen[KEY_EXTENT] = false;
}

static int keep_line(RegionRecord *r, const char *line) {
        char *more;

        if (asprintf(&more, "%s%s\n", r->others ?: "", line) < 0)
                return -ENOMEM;
        free(r->others);
        r->others = more;
        return 0;
}

static int read_line(RegionRecord *record, char *line, bool *seen, bool *twice) {
        char *eq;
        int key, r;

        if (*line == '#')
                return 0;
        eq = strchr(line, '=');
        if (!eq)
                return -EBADMSG;
        *eq = 0;
        key = key_from_string(line);
        if (key < 0) {
                *eq = '=';
                return keep_line(record, line);
        }
        if (seen[key] || twice[key]) {
                /* The key occurs twice: neither value counts as valid. */
                twice[key] = true;
                return -EBADMSG;
        }
        r = assign(record, (enum Key) key, eq + 1);
        seen[key] = r >= 0;
        return r;
}

int region_record_parse(char *text, RegionRecord *ret) {
        _cleanup_(region_record_done) RegionRecord record = { .creator = (uid_t) -1 };
        bool seen[_KEY_MAX] = {}, twice[_KEY_MAX] = {};
        char *line, *save = NULL;
        int r, wrong = 0;

        for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                r = read_line(&record, line, seen, twice);
                if (r == -ENOMEM)
                        return r;
                wrong |= r < 0;
        }
        for (size_t i = 0; i < _KEY_MAX; i++)
                seen[i] = seen[i] && !twice[i];
        check(&record, seen);
        if (!seen[KEY_CREATOR])
                record.creator = (uid_t) -1;
        if (!seen[KEY_NAME])
                (void) free_and_strdup(&record.name, NULL);
        if (!seen[KEY_LABEL])
                (void) free_and_strdup(&record.label, NULL);
        if (!seen[KEY_BACKING])
                record.backing = BACKING_UNKNOWN;
        if (!seen[KEY_HUGEPAGES])
                record.hugepages = HUGEPAGES_DEFAULT;
        if (!seen[KEY_NUMA])
                record.numa = (NumaPolicy){};
        if (!seen[KEY_LIFETIME])
                record.lifetime = LIFETIME_PERSISTENT;
        if (!seen[KEY_INODE])
                record.inode = 0;
        if (!seen[KEY_EXTENT])
                record.extent = 0;
        if (!seen[KEY_FINAL_MODE] || record.mode != 0)
                record.final_mode = 0;
        if (record.final_mode == 0)
                region_record_resume(&record);
        /*
         * Without both HOLDER= and BEFORE=, the broker would not know what to do when the holder leaves. Then the region stays
         * closed.
         */
        if (record.has_before && (record.before_uid == (uid_t) -1 || record.before_gid == (gid_t) -1))
                seen[KEY_BEFORE] = false;
        if (!seen[KEY_HOLDER] || !seen[KEY_BEFORE]) {
                (void) free_and_strdup(&record.holder, NULL);
                record.has_before = false;
        }
        record.has_id = seen[KEY_ID];
        record.has_size = seen[KEY_SIZE];
        record.has_window = seen[KEY_LENGTH];
        record.has_created = seen[KEY_CREATED];
        record.has_ready = seen[KEY_READY];
        /* Earlier versions did not write NUMA. The keys from EXTENT on are written only while the region changes. */
        for (size_t i = 0; i < _KEY_MAX; i++)
                wrong |= !seen[i] && i != KEY_NUMA && i < KEY_EXTENT;
        *ret = record;
        record = (RegionRecord){};
        return wrong;
}
