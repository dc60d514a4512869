/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#include "kernel/kernel.h"
#include "mshare.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/*
 * A kernel for tests on machines without mshare. $MSHARED_TEST_ROOT holds
 *
 *   fs/           msharefs: a file for each region, with its struct mshare_info
 *   usage/NAME    "SHARERS RESIDENT-KB PGTABLES-KB" of a region; without it all are 0
 *   late/NAME     as usage/NAME, for a region with mode 0: a process has attached before that was set
 *   access/NAME   "r" or "rw", the access in fdinfo; without it fdinfo has no such line, as in old kernels
 *   available     bytes of memory available, in decimal; without it there is no limit
 *   nodes         the NUMA nodes with memory, as in 0,2-3; empty: a kernel without NUMA; without it there is node 0
 *   policy        if it exists, set_policy() writes address, size and policy into it
 *   advised       if it exists, the donor's madvise() for huge pages appends address, size and advice to it
 *   refuse        an errno in decimal with which mshare() and attach() fail
 *   maps/NAME     what a region maps, as in /proc/PID/maps; without it nothing. attach() maps anonymous memory there
 *   refuse-attach as refuse, for attach() alone
 *   hold          if it exists, attach() waits until it is removed
 *   hold-open     if it exists, the daemon's open() of a region for writing makes "held" and waits until it is removed
 *   hold-lease    likewise, the daemon before it makes the FIFO of a lease
 *   hold-chown    likewise, before it sets the owner of a region
 *   hold-chmod    likewise, before it sets the mode of a region
 *   attached      if it exists, attach() appends address and length to it
 *   hold-mshare   if it exists, mshare() makes "held" and waits until it is removed
 *   hold-create   if it exists, mshare() waits after it has made the region until it is removed
 *   populated     if it exists, populate() appends the process, address, size and access to it
 *   unpopulated   an errno in decimal with which populate() fails
 *   taken         START-END of addresses where a donor already has a mapping
 *   no-signals    if it exists, the daemon gets no signalfd
 *   unsupported   if it exists, this kernel has no mshare
 */
static const char *test_root(void) {
        return getenv("MSHARED_TEST_ROOT") ?: "/nonexistent";
}

static int open_root(void) {
        int fd = open(test_root(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

/* As long as that file exists. The file "held" tells the test that a process waits. */
static void wait_while(int root, const char *file) {
        int held;

        if (faccessat(root, file, F_OK, 0) < 0)
                return;
        held = (int) syscall(SYS_openat, root, "held", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (held >= 0)
                (void) close(held);
        while (faccessat(root, file, F_OK, 0) == 0)
                (void) usleep(10000);
}

/* A function of the C library that is replaced here, and has not been called yet. */
static void wait_at(const char *file) {
        _cleanup_(closep) int root = open_root();

        wait_while(root, file);
}

/* The daemon's openat() is this function, because its offsets have 64 bits. */
int openat64(int dirfd, const char *path, int flags, ...) {
        mode_t mode;
        va_list ap;

        va_start(ap, flags);
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
        va_end(ap);
        /* Only regions have all three of these. */
        if ((flags & (O_ACCMODE | O_NOFOLLOW | O_NOCTTY)) == (O_RDWR | O_NOFOLLOW | O_NOCTTY))
                wait_at("hold-open");
        return (int) syscall(SYS_openat, dirfd, path, flags, mode);
}

/* Only leases are FIFOs. */
int mkfifoat(int dirfd, const char *path, mode_t mode) {
        wait_at("hold-lease");
        return (int) syscall(SYS_mknodat, dirfd, path, mode | S_IFIFO, 0);
}

/* The daemon has no other files whose owner it sets with this, or whose mode. */
int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags) {
        wait_at("hold-chown");
        return (int) syscall(SYS_fchownat, dirfd, path, uid, gid, flags);
}

int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
        wait_at("hold-chmod");
        return (int) syscall(SYS_fchmodat, dirfd, path, mode);
}

int madvise(void *p, size_t size, int advice) {
        _cleanup_(closep) int root = -1, log = -1;

        if (advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE) {
                root = open_root();
                log = openat(root, "advised", O_WRONLY | O_APPEND | O_CLOEXEC);
                if (log >= 0 && dprintf(log, "%#" PRIxPTR " %zu %s\n", (uintptr_t) p, size,
                                        advice == MADV_HUGEPAGE ? "huge" : "nohuge") < 0)
                        abort();
        }
        return (int) syscall(SYS_madvise, p, size, advice);
}

/* For libsystemd, too, hence visible. */
__attribute__((visibility("default"))) int signalfd(int fd, const sigset_t *mask, int flags) {
        char refused[4096];

        (void) snprintf(refused, sizeof(refused), "%s/no-signals", test_root());
        if (access(refused, F_OK) == 0) {
                errno = EMFILE;
                return -1;
        }
        return (int) syscall(SYS_signalfd4, fd, mask, 8, flags);
}

/* Runs before main(), so that a donor finds its addresses in use. */
__attribute__((constructor)) static void take_addresses(int argc, char **argv) {
        _cleanup_(closep) int root = open_root();
        _cleanup_(freep) char *text = NULL;
        uint64_t start, end;

        if (argc < 2 || !streq(argv[1], "--donor") || root < 0 || read_file(root, "taken", 64, &text, NULL) < 0)
                return;
        if (sscanf(text, "%" SCNx64 "-%" SCNx64, &start, &end) != 2 ||
            mmap((void *) (uintptr_t) start, end - start, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
                abort();
}

static const char *double_root(void) {
        static char path[4096];

        (void) snprintf(path, sizeof(path), "%s/fs", test_root());
        return path;
}

static int double_granule(uint64_t *ret) {
        _cleanup_(closep) int root = open_root();

        if (root < 0)
                return root;
        if (faccessat(root, "unsupported", F_OK, 0) == 0)
                return -EOPNOTSUPP;
        *ret = UINT64_C(1) << 30;
        return 0;
}

static int double_check_root(int root_fd) {
        return 0;
}

static int double_mshare(const char *name, uint64_t address, uint64_t length, int oflag, mode_t mode) {
        struct mshare_info info = { .start = address, .size = length };
        _cleanup_(closep) int root = open_root(), fs = -1, fd = -1;
        _cleanup_(freep) char *refuse = NULL;
        char path[64];
        uint32_t e;

        if (root < 0)
                return root;
        if (read_file(root, "refuse", 16, &refuse, NULL) >= 0 && parse_u32(refuse, 10, &e) >= 0)
                return -(int) e;
        fs = openat(root, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fs < 0)
                return -errno;
        wait_while(root, "hold-mshare");
        /* All at once, as in the kernel, because a donor may be killed in between. */
        fd = openat(fs, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;
        if (write(fd, &info, sizeof(info)) != sizeof(info))
                return -EIO;
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (linkat(AT_FDCWD, path, fs, name, AT_SYMLINK_FOLLOW) < 0)
                return -errno;
        while (faccessat(root, "hold-create", F_OK, 0) == 0)
                (void) usleep(10000);
        return 0;
}

/* The region has the name of its file. */
static int name_of(int fd, char *ret, size_t size) {
        char path[64], target[4096];
        ssize_t n;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = 0;
        (void) snprintf(ret, size, "%s", strrchr(target, '/') + 1);
        return 0;
}

static int double_listing(int fd, int *ret) {
        _cleanup_(closep) int root = open_root();
        char name[256], file[300];
        int r;

        r = root < 0 ? root : name_of(fd, name, sizeof(name));
        if (r < 0)
                return r;
        (void) snprintf(file, sizeof(file), "maps/%s", name);
        *ret = openat(root, file, O_RDONLY | O_CLOEXEC);
        if (*ret < 0 && errno == ENOENT)
                *ret = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return *ret < 0 ? -errno : 0;
}

static int double_attach(int fd, uint64_t address, uint64_t length) {
        _cleanup_(closep) int root = open_root(), log = -1;
        _cleanup_(freep) char *refuse = NULL, *line = NULL;
        _cleanup_(fclosep) FILE *f = NULL;
        uint64_t start, end;
        size_t size = 0;
        int listing, r;
        uint32_t e;

        if (root < 0)
                return root;
        while (faccessat(root, "hold", F_OK, 0) == 0)
                (void) usleep(10000);
        if (read_file(root, "refuse", 16, &refuse, NULL) >= 0 && parse_u32(refuse, 10, &e) >= 0)
                return -(int) e;
        if (!refuse && read_file(root, "refuse-attach", 16, &refuse, NULL) >= 0 && parse_u32(refuse, 10, &e) >= 0)
                return -(int) e;
        log = openat(root, "attached", O_WRONLY | O_APPEND | O_CLOEXEC);
        if (log >= 0 && dprintf(log, "%#" PRIx64 " %" PRIu64 "\n", address, length) < 0)
                return -EIO;
        r = double_listing(fd, &listing);
        if (r < 0)
                return r;
        f = fdopen(listing, "r");
        while (f && getline(&line, &size, f) > 0)
                if (sscanf(line, "%" SCNx64 "-%" SCNx64, &start, &end) != 2 ||
                    mmap((void *) (uintptr_t) start, end - start, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
                        return -EBADMSG;
        return 0;
}

static int double_fdinfo(int fd, char **ret) {
        char name[256], file[300];
        _cleanup_(closep) int root = open_root();
        _cleanup_(freep) char *text = NULL, *access = NULL;
        unsigned sharers = 0, resident = 0, pgtables = 0, writers = 0;
        char line[48] = "";
        struct stat st;
        int r;

        r = name_of(fd, name, sizeof(name));
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        (void) snprintf(file, sizeof(file), "late/%s", name);
        if ((st.st_mode & 0777) != 0 || faccessat(root, file, F_OK, 0) < 0)
                (void) snprintf(file, sizeof(file), "usage/%s", name);
        if (read_file(root, file, 256, &text, NULL) >= 0) {
                r = sscanf(text, "%u %u %u %u", &sharers, &resident, &pgtables, &writers);
                if (r < 3)
                        return -EBADMSG;
                if (r == 4)
                        (void) snprintf(line, sizeof(line), "mshare-writers:\t%u\n", writers);
        }
        (void) snprintf(file, sizeof(file), "access/%s", name);
        (void) read_file(root, file, 16, &access, NULL);
        if (asprintf(ret, "pos:\t0\nmshare-sharers:\t%u\nmshare-resident-kb:\t%u\nmshare-pgtables-kb:\t%u\n%s%s%s%s",
                     sharers, resident, pgtables, line, access ? "mshare-access:\t" : "", access ?: "",
                     access ? "\n" : "") < 0)
                return -ENOMEM;
        return 0;
}

static int double_available(const NumaPolicy *numa, uint64_t *ret) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(closep) int root = open_root();

        *ret = UINT64_MAX;
        if (root < 0 || read_file(root, "available", 32, &text, NULL) < 0)
                return 0;
        return parse_u64(text, 10, ret);
}

static int double_nodes(NumaNodes *ret) {
        _cleanup_(freep) char *text = NULL;
        _cleanup_(closep) int root = open_root();

        if (root < 0 || read_file(root, "nodes", 4096, &text, NULL) < 0)
                return numa_parse_nodes("0", ret);
        return *text ? numa_parse_nodes(text, ret) : -EOPNOTSUPP;
}

static int double_set_policy(void *p, uint64_t size, const NumaPolicy *numa) {
        _cleanup_(closep) int root = open_root(), fd = -1;
        char policy[NUMA_TEXT_MAX];

        if (root < 0)
                return root;
        fd = openat(root, "policy", O_WRONLY | O_TRUNC | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        return dprintf(fd, "%#" PRIx64 " %" PRIu64 " %s", (uint64_t) (uintptr_t) p, size, numa_format(numa, policy)) < 0
                       ? -EIO
                       : 0;
}

/* What a process has attached but does not map itself is there on the real kernel. */
static int double_populate(void *p, uint64_t size, bool writable) {
        const int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
        _cleanup_(closep) int root = open_root(), log = -1;
        _cleanup_(freep) char *refuse = NULL;
        uint32_t e;

        if (root < 0)
                return root;
        if (read_file(root, "unpopulated", 16, &refuse, NULL) >= 0 && parse_u32(refuse, 10, &e) >= 0)
                return -(int) e;
        if (madvise(p, size, advice) < 0 &&
            (errno != ENOMEM ||
             mmap(p, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
                     MAP_FAILED ||
             madvise(p, size, advice) < 0))
                return -errno;
        log = openat(root, "populated", O_WRONLY | O_APPEND | O_CLOEXEC);
        if (log >= 0 && dprintf(log, "%d %#" PRIxPTR " %" PRIu64 " %s\n", (int) getpid(), (uintptr_t) p, size,
                                writable ? "rw" : "r") < 0)
                return -EIO;
        return 0;
}

const KernelOps *kernel_ops(void) {
        static const KernelOps ops = {
                .root = double_root,
                .granule = double_granule,
                .check_root = double_check_root,
                .mshare = double_mshare,
                .attach = double_attach,
                .listing = double_listing,
                .fdinfo = double_fdinfo,
                .available = double_available,
                .nodes = double_nodes,
                .set_policy = double_set_policy,
                .populate = double_populate,
        };

        return &ops;
}
