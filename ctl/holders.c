/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Finds the processes that hold a lease, from /proc alone. A lease is the write end of a FIFO, whose name begins with the
 * broker's data about the lease: see daemon/model/lease.h. It does not ask the broker, and prints nothing.
 */

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "holders.h"
#include "process.h"
#include "util.h"

#define LEASES "/leases/"

void holder_done(Holder *h) {
        free(h->pids);
        *h = (Holder){};
}

const char *holder_state_to_string(HolderState state) {
        static const char *const words[] = {
                [HOLDER_HOLDS] = "holds",
                [HOLDER_LEFT] = "left",
                [HOLDER_ENDED] = "ended",
        };

        return words[state];
}

/*
 * Whether the descriptor is a lease. The name alone proves nothing, because any user can make a file of that name. So compare
 * the owner, too. The read end belongs to the broker.
 */
static bool read_lease(int fds, const char *fd, uid_t user, Holder *ret) {
        struct stat link, st;
        char target[512];
        const char *name;
        uint32_t uid;
        int32_t pid;
        ssize_t n;

        n = readlinkat(fds, fd, target, sizeof(target) - 1);
        if (n < 0)
                return false;
        target[n] = '\0';
        name = strstr(target, LEASES);
        if (!name || sscanf(name + strlen(LEASES), "%*16[0-9a-f],%*16[0-9a-f],%" SCNu32 ",%" SCNd32 ",%*[rw],%" SCNu64,
                            &uid, &pid, &ret->since) != 3)
                return false;
        ret->uid = uid;
        ret->pid = pid;
        return fstatat(fds, fd, &link, AT_SYMLINK_NOFOLLOW) >= 0 && (link.st_mode & (S_IRUSR | S_IWUSR)) == S_IWUSR &&
               fstatat(fds, fd, &st, 0) >= 0 && S_ISFIFO(st.st_mode) && (user == 0 || st.st_uid != user);
}

static bool is_same(const Holder *a, const Holder *b) {
        return a->since == b->since && a->pid == b->pid && a->uid == b->uid;
}

/* Calls found() for each lease that the process has open. 0, or negative errno: -ESRCH, -EACCES. */
static int look_at(const char *proc, pid_t pid, int (*found)(const Holder *lease, pid_t pid, void *userdata),
                   void *userdata) {
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *de;
        struct stat st;
        char path[256];
        Holder lease;
        int fds, r;

        (void) snprintf(path, sizeof(path), "%s/%d", proc, (int) pid);
        if (stat(path, &st) < 0)
                return -ESRCH;
        (void) snprintf(path, sizeof(path), "%s/%d/fd", proc, (int) pid);
        dir = opendir(path);
        if (!dir)
                return errno == ENOENT || errno == ESRCH ? -ESRCH : -EACCES;
        fds = dirfd(dir);
        if (fds < 0)
                return -EACCES;
        while ((de = readdir(dir))) {
                if (de->d_name[0] == '.' || !read_lease(fds, de->d_name, st.st_uid, &lease))
                        continue;
                r = found(&lease, pid, userdata);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        return 0;
}

static int is_held(const Holder *lease, pid_t pid, void *userdata) {
        Holder *h = userdata;

        if (!is_same(lease, h))
                return 0;
        h->state = HOLDER_HOLDS;
        return 1;
}

static int find_state(const char *proc, Holder *h) {
        int r;

        h->state = HOLDER_UNKNOWN;
        if (h->pid <= 0)
                return 0;
        r = look_at(proc, h->pid, is_held, h);
        if (r == -ESRCH)
                h->state = HOLDER_ENDED;
        else if (r == 0 && h->state != HOLDER_HOLDS)
                h->state = HOLDER_LEFT;
        return r == -ENOMEM ? r : 0;
}

/* A lease whose holders are not known. */
typedef struct Missing {
        uint64_t since;
        Holder *holder;
} Missing;

typedef struct Search {
        Missing *list; /* sorted by time */
        size_t n;
} Search;

static int compare(const void *a, const void *b) {
        uint64_t x = ((const Missing *) a)->since, y = ((const Missing *) b)->since;

        return x < y ? -1 : x > y;
}

static int add_pid(const Holder *lease, pid_t pid, void *userdata) {
        const Missing key = { .since = lease->since };
        const Search *search = userdata;
        Missing *p;
        pid_t *more;
        Holder *h;

        p = bsearch(&key, search->list, search->n, sizeof(key), compare);
        if (!p)
                return 0;
        /* Several may have the same time. */
        while (p > search->list && p[-1].since == key.since)
                p--;
        for (; p < search->list + search->n && p->since == key.since; p++) {
                h = p->holder;
                /* A process may have it open twice. */
                if (!is_same(lease, h) || (h->n_pids > 0 && h->pids[h->n_pids - 1] == pid))
                        continue;
                more = reallocarray(h->pids, h->n_pids + 1, sizeof(*more));
                if (!more)
                        return -ENOMEM;
                h->pids = more;
                h->pids[h->n_pids++] = pid;
        }
        return 0;
}

int holders_find(const char *proc, Holder *list, size_t n) {
        _cleanup_(freep) Missing *missing = NULL;
        _cleanup_(freep) pid_t *pids = NULL;
        Search search = {};
        size_t n_pids, i;
        int r;

        missing = calloc(n + 1, sizeof(*missing));
        if (!missing)
                return -ENOMEM;
        search.list = missing;
        for (i = 0; i < n; i++) {
                r = find_state(proc, list + i);
                if (r < 0)
                        return r;
                if (list[i].state == HOLDER_LEFT || list[i].state == HOLDER_ENDED)
                        missing[search.n++] = (Missing){ .since = list[i].since, .holder = list + i };
        }
        /* Reading all processes takes a while, so skip it if it is not needed. */
        if (search.n == 0)
                return 0;
        qsort(missing, search.n, sizeof(*missing), compare);
        r = process_list(proc, &pids, &n_pids);
        for (i = 0; r >= 0 && i < n_pids; i++) {
                r = look_at(proc, pids[i], add_pid, &search);
                if (r == -ESRCH || r == -EACCES)
                        r = 0;
        }
        return r;
}
