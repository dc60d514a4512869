/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads and changes POSIX access lists in the format of the extended attribute system.posix_acl_access. It knows files and
 * identities, but no regions.
 *
 * It does not use libacl, which would replace reading, writing and sorting, some 60 lines. The rules must be here in any case,
 * because libacl's rules do not fit. When one user is granted access, acl_calc_mask() gives back to all entries what the mask
 * has taken from them. acl_get_file() follows symbolic links, does not tell a file without a list from one with a list, and
 * takes lists of any length.
 */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "basic/util.h"
#include "policy/acl.h"

typedef struct Entry {
        unsigned tag, perm;
        uint32_t id;
} Entry;

typedef struct Acl {
        Entry v[ACL_ENTRIES_MAX];
        size_t n;
} Acl;

typedef struct Wire {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry v[ACL_ENTRIES_MAX];
} Wire;

/* NAME_MAX, and room for the directory. */
#define PATH_SIZE 320

/* Extended attributes have no *at() calls, so the path goes through /proc. */
static void make_path(char *buf, size_t size, int dirfd, const char *name) {
        (void) snprintf(buf, size, "/proc/self/fd/%d/%s", dirfd, name);
}

static int acl_read(int dirfd, const char *name, Acl *ret) {
        char path[PATH_SIZE];
        ssize_t size;
        Wire wire;
        size_t n;

        make_path(path, sizeof(path), dirfd, name);
        size = lgetxattr(path, XATTR_NAME_POSIX_ACL_ACCESS, &wire, sizeof(wire));
        if (size < 0)
                return -errno;
        if ((size_t) size < sizeof(wire.header) || le32toh(wire.header.a_version) != POSIX_ACL_XATTR_VERSION)
                return -EBADMSG;
        n = ((size_t) size - sizeof(wire.header)) / sizeof(wire.v[0]);
        for (size_t i = 0; i < n; i++)
                ret->v[i] = (Entry){
                        .tag = le16toh(wire.v[i].e_tag),
                        .perm = le16toh(wire.v[i].e_perm),
                        .id = le32toh(wire.v[i].e_id),
                };
        ret->n = n;
        return 0;
}

static int acl_write(int dirfd, const char *name, const Acl *acl) {
        char path[PATH_SIZE];
        Wire wire = { .header.a_version = htole32(POSIX_ACL_XATTR_VERSION) };
        size_t size = sizeof(wire.header) + acl->n * sizeof(wire.v[0]);

        for (size_t i = 0; i < acl->n; i++) {
                wire.v[i].e_tag = htole16((uint16_t) acl->v[i].tag);
                wire.v[i].e_perm = htole16((uint16_t) acl->v[i].perm);
                wire.v[i].e_id = htole32(acl->v[i].id);
        }
        make_path(path, sizeof(path), dirfd, name);
        return lsetxattr(path, XATTR_NAME_POSIX_ACL_ACCESS, &wire, size, 0) < 0 ? -errno : 0;
}

static Entry *find_entry(Acl *acl, unsigned tag, uint32_t id) {
        for (size_t i = 0; i < acl->n; i++)
                if (acl->v[i].tag == tag && acl->v[i].id == id)
                        return acl->v + i;
        return NULL;
}

/* The kernel expects entries in the order of their tags, and of their IDs within a tag. */
static int compare(const void *a, const void *b) {
        const Entry *x = a, *y = b;

        if (x->tag != y->tag)
                return x->tag < y->tag ? -1 : 1;
        return x->id < y->id ? -1 : x->id > y->id;
}

static int set(Acl *acl, unsigned tag, uint32_t id, unsigned perm) {
        Entry *e = find_entry(acl, tag, id);

        if (e)
                e->perm |= perm;
        else {
                if (acl->n == ACL_ENTRIES_MAX)
                        return -E2BIG;
                acl->v[acl->n++] = (Entry){ tag, perm, id };
                qsort(acl->v, acl->n, sizeof(acl->v[0]), compare);
        }
        return 0;
}

static void acl_from_mode(mode_t mode, Acl *ret) {
        ret->n = 3;
        ret->v[0] = (Entry){ ACL_USER_OBJ, mode >> 6 & 7, (uint32_t) ACL_UNDEFINED_ID };
        ret->v[1] = (Entry){ ACL_GROUP_OBJ, mode >> 3 & 7, (uint32_t) ACL_UNDEFINED_ID };
        ret->v[2] = (Entry){ ACL_OTHER, mode & 7, (uint32_t) ACL_UNDEFINED_ID };
}

/* The file's list, or a list that is equivalent to its mode. */
static int acl_read_any(int dirfd, const char *name, Acl *ret) {
        struct stat st;
        int r;

        r = acl_read(dirfd, name, ret);
        if (r != -ENODATA)
                return r;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        acl_from_mode(st.st_mode, ret);
        return 0;
}

/* Removes from each entry what the mask masks out, so that a larger mask does not give it back. */
static void apply_mask(Acl *acl) {
        const Entry *mask = find_entry(acl, ACL_MASK, (uint32_t) ACL_UNDEFINED_ID);

        for (size_t i = 0; mask && i < acl->n; i++)
                if (acl->v[i].tag == ACL_USER || acl->v[i].tag == ACL_GROUP_OBJ || acl->v[i].tag == ACL_GROUP)
                        acl->v[i].perm &= mask->perm;
}

int acl_grant_user(int dirfd, const char *name, uid_t uid, Access access) {
        const Entry *group;
        Acl acl = {};
        int r;

        r = acl_read_any(dirfd, name, &acl);
        if (r < 0)
                return r;
        apply_mask(&acl);
        r = set(&acl, ACL_USER, uid, access);
        group = find_entry(&acl, ACL_GROUP_OBJ, (uint32_t) ACL_UNDEFINED_ID);
        /* A first mask must not take away what the group had. */
        if (r >= 0 && group && !find_entry(&acl, ACL_MASK, (uint32_t) ACL_UNDEFINED_ID))
                r = set(&acl, ACL_MASK, (uint32_t) ACL_UNDEFINED_ID, group->perm);
        if (r >= 0)
                r = set(&acl, ACL_MASK, (uint32_t) ACL_UNDEFINED_ID, access);
        return r < 0 ? r : acl_write(dirfd, name, &acl);
}

int acl_replace_by_mode(int dirfd, const char *name, mode_t mode) {
        Acl acl = {};
        int r;

        r = acl_read(dirfd, name, &acl);
        if (r < 0 && r != -ERANGE)
                return r;
        /* A list that is equivalent to a mode: the kernel sets that mode and drops the old list, atomically. */
        acl_from_mode(mode, &acl);
        return acl_write(dirfd, name, &acl);
}

/* The permissions of owner, group and others alone, less what the mask masks out for the group. */
static mode_t plain_mode(Acl *acl) {
        mode_t mode = 0;

        apply_mask(acl);
        for (size_t i = 0; i < acl->n; i++)
                if (acl->v[i].tag == ACL_USER_OBJ)
                        mode |= (acl->v[i].perm & 7) << 6;
                else if (acl->v[i].tag == ACL_GROUP_OBJ)
                        mode |= (acl->v[i].perm & 7) << 3;
                else if (acl->v[i].tag == ACL_OTHER)
                        mode |= acl->v[i].perm & 7;
        return mode;
}

int acl_plain_mode(int dirfd, const char *name, mode_t *ret) {
        Acl acl = {};
        int r;

        r = acl_read(dirfd, name, &acl);
        if (r < 0)
                return r;
        *ret = plain_mode(&acl);
        return 0;
}

int acl_drop(int dirfd, const char *name) {
        Acl acl = {};
        struct stat st;
        mode_t mode;
        int r;

        r = acl_read(dirfd, name, &acl);
        if (r == -ERANGE) {
                /* The list is too long to read, so the group's permissions are not known. The group gets none. */
                if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return -errno;
                mode = st.st_mode & 0707;
        } else if (r < 0)
                return r;
        else
                mode = plain_mode(&acl);
        acl_from_mode(mode, &acl);
        return acl_write(dirfd, name, &acl);
}

int acl_list(int dirfd, const char *name, AclGrant *grants, size_t max, size_t *ret) {
        Acl acl = {};
        size_t n = 0;
        int r;

        r = acl_read(dirfd, name, &acl);
        if (r < 0)
                return r;
        apply_mask(&acl);
        for (size_t i = 0; i < acl.n && n < max; i++)
                if (acl.v[i].tag == ACL_USER || acl.v[i].tag == ACL_GROUP)
                        grants[n++] = (AclGrant){ acl.v[i].tag == ACL_GROUP, acl.v[i].id, acl.v[i].perm };
        *ret = n;
        return 0;
}

int acl_revoke(int dirfd, const char *name, bool group, uint32_t id) {
        unsigned tag = group ? ACL_GROUP : ACL_USER, mask = 0;
        size_t n_named = 0;
        Acl acl = {};
        Entry *e;
        int r;

        r = acl_read(dirfd, name, &acl);
        if (r < 0)
                return r;
        e = find_entry(&acl, tag, id);
        if (!e)
                return -ESRCH;
        apply_mask(&acl);
        acl.n--;
        memmove(e, e + 1, (size_t) (acl.v + acl.n - e) * sizeof(*e));
        for (size_t i = 0; i < acl.n; i++) {
                if (acl.v[i].tag == ACL_USER || acl.v[i].tag == ACL_GROUP)
                        n_named++;
                else if (acl.v[i].tag != ACL_GROUP_OBJ)
                        continue;
                mask |= acl.v[i].perm;
        }
        e = find_entry(&acl, ACL_MASK, (uint32_t) ACL_UNDEFINED_ID);
        if (n_named == 0)
                acl_from_mode(plain_mode(&acl), &acl);
        else if (e)
                e->perm = mask;
        return acl_write(dirfd, name, &acl);
}

int acl_save(int dirfd, const char *name, AclBackup *ret) {
        Acl acl = {};
        int r;

        r = acl_read_any(dirfd, name, &acl);
        if (r < 0)
                return r;
        ret->list = malloc(sizeof(acl));
        if (!ret->list)
                return -ENOMEM;
        memcpy(ret->list, &acl, sizeof(acl));
        return 0;
}

int acl_restore(int dirfd, const char *name, const AclBackup *backup) {
        return acl_write(dirfd, name, backup->list);
}

void acl_backup_done(AclBackup *backup) {
        free(backup->list);
        backup->list = NULL;
}

static bool acl_decide(Acl *acl, const Identity *who, uid_t owner, gid_t group, unsigned want) {
        const Entry *mask = find_entry(acl, ACL_MASK, (uint32_t) ACL_UNDEFINED_ID);
        unsigned limit = mask ? mask->perm : 7;
        bool in_some_group = false;

        for (size_t i = 0; i < acl->n; i++) {
                const Entry *e = acl->v + i;
                bool mine;

                switch (e->tag) {
                case ACL_USER_OBJ:
                        if (who->uid == owner)
                                return (e->perm & want) == want;
                        break;
                case ACL_USER:
                        if (who->uid == e->id)
                                return (e->perm & limit & want) == want;
                        break;
                case ACL_GROUP_OBJ:
                case ACL_GROUP:
                        mine = identity_in_group(who, e->tag == ACL_GROUP ? e->id : group);
                        in_some_group |= mine;
                        if (mine && (e->perm & limit & want) == want)
                                return true;
                        break;
                case ACL_OTHER:
                        return !in_some_group && (e->perm & want) == want;
                default:
                        break;
                }
        }
        return false;
}

int acl_check(int dirfd, const char *name, const Identity *who, uid_t owner, gid_t group, Access access) {
        Acl acl = {};
        int r;

        if (who->uid == 0)
                return 1;
        r = acl_read(dirfd, name, &acl);
        if (r < 0)
                return r;
        return acl_decide(&acl, who, owner, group, access);
}
