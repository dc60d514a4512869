/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A replacement for the kernel in tests without mshare. When this file is linked into a test program or preloaded, its
 * mshare(), mmap() and open() come before the library's. A region is a file NAME of struct mshare_info in the folder
 * FAKE_MSHARE. Its memory is a sparse file NAME.mem in FAKE_MSHARE_MEM, mapped shared. fake-broker makes both. With the
 * real daemon, its kernel double makes the first, and this file makes the second. Unlike a real window, this one costs
 * page tables.
 */
#undef _FILE_OFFSET_BITS

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mshare.h"
#include "util.h"

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

static bool region_path(const char *name, const char *suffix, char *buf, size_t size) {
        const char *dir = getenv(suffix[0] ? "FAKE_MSHARE_MEM" : "FAKE_MSHARE");

        return dir && (size_t) snprintf(buf, size, "%s/%s%s", dir, name, suffix) < size;
}

/* Does the process have a window of the region, and may it write to it? The window maps one of the two files. */
static bool is_sharer(const char *pid, const char *file, const char *memory, bool *ret_writer) {
        char path[64], line[4096 + 256], *nl;
        bool found = false, same;
        FILE *maps;
        int fd;

        (void) snprintf(path, sizeof(path), "/proc/%.32s/maps", pid);
        fd = (int) syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        maps = fd >= 0 ? fdopen(fd, "r") : NULL;
        *ret_writer = false;
        while (maps && fgets(line, sizeof(line), maps)) {
                char *name = strchr(line, '/');

                nl = strchr(line, '\n');
                if (nl)
                        *nl = '\0';
                same = name && (streq(name, file) || streq(name, memory));
                found |= same;
                /* The window of an empty region cannot be accessed, read-only or not. */
                *ret_writer |= same && !strstr(line, " r--");
        }
        if (maps)
                (void) fclose(maps);
        return found;
}

/* What the real fdinfo of a region's file shows. */
static int open_fdinfo(const char *number) {
        const char *dir = getenv("FAKE_MSHARE"), *broken = getenv("FAKE_MSHARE_NO_FDINFO");
        char path[64], file[4096] = "", memory[4096], *name;
        unsigned int n = 0, writers = 0;
        struct dirent *d;
        bool writer;
        DIR *proc;
        int fd;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%.16s", number);
        name = readlink(path, file, sizeof(file) - 1) > 0 ? strrchr(file, '/') : NULL;
        if (!dir || broken || !name || (size_t) (name - file) != strlen(dir) || strncmp(file, dir, strlen(dir)) != 0 ||
            !region_path(name + 1, ".mem", memory, sizeof(memory)))
                return -1;

        proc = opendir("/proc");
        while (proc && (d = readdir(proc)))
                if (d->d_name[0] >= '1' && d->d_name[0] <= '9' && is_sharer(d->d_name, file, memory, &writer)) {
                        n++;
                        writers += writer;
                }
        if (proc)
                (void) closedir(proc);

        fd = memfd_create("fdinfo", MFD_CLOEXEC);
        if (fd >= 0 && (dprintf(fd, "pos:\t0\nmshare-sharers:\t%u\n", n) < 0 ||
                        (!getenv("FAKE_MSHARE_NO_WRITERS") && dprintf(fd, "mshare-writers:\t%u\n", writers) < 0) ||
                        lseek(fd, 0, SEEK_SET) < 0))
                return safe_close(fd);
        return fd;
}

static int open_any(const char *path, int flags, mode_t mode) {
        static const char msharefs[] = "/sys/fs/mshare/", fdinfo[] = "/proc/self/fdinfo/";
        char buf[4096];
        int fd;

        if (strncmp(path, fdinfo, strlen(fdinfo)) == 0) {
                fd = open_fdinfo(path + strlen(fdinfo));
                if (fd >= 0)
                        return fd;
        }

        if (strncmp(path, msharefs, strlen(msharefs)) == 0 &&
            region_path(path + strlen(msharefs), "", buf, sizeof(buf))) {
                path = buf;
                /* A test's root may write to files whose mode forbids it. */
                if (getenv("FAKE_MSHARE_READ_ONLY") && (flags & O_ACCMODE) != O_RDONLY) {
                        errno = EACCES;
                        return -1;
                }
        }
        return (int) syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* If fake-broker made no memory, the region is empty. The real daemon's double never makes memory. */
static int open_memory(const char *path, size_t length, int oflag) {
        const char *dir = getenv("FAKE_MSHARE"), *mem = getenv("FAKE_MSHARE_MEM");
        int fd;

        if (!dir || !mem || streq(dir, mem))
                return open_any(path, oflag | O_CLOEXEC, 0);
        fd = open_any(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0 && ftruncate(fd, (off_t) length) < 0)
                return safe_close(fd);
        return fd;
}

#define OPEN_VARIADIC(function)                                                                                        \
        _public_ int function(const char *path, int flags, ...) {                                                      \
                mode_t mode = 0;                                                                                       \
                va_list ap;                                                                                            \
                if (flags & (O_CREAT | O_TMPFILE)) {                                                                   \
                        va_start(ap, flags);                                                                           \
                        mode = va_arg(ap, mode_t);                                                                     \
                        va_end(ap);                                                                                    \
                }                                                                                                      \
                return open_any(path, flags, mode);                                                                    \
        }

OPEN_VARIADIC(open)
OPEN_VARIADIC(open64)

_public_ int __open_2(const char *path, int flags) {
        return open_any(path, flags, 0);
}

_public_ int __open64_2(const char *path, int flags) {
        return open_any(path, flags, 0);
}

/* An owner that the test cannot set: FAKE_MSHARE_UID is the owner of every region. */
_public_ int fstat(int fd, struct stat *st) {
        const char *dir = getenv("FAKE_MSHARE"), *uid = getenv("FAKE_MSHARE_UID");
        char path[64], file[4096] = "";
        int r = (int) syscall(SYS_fstat, fd, st);

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (r == 0 && dir && uid && readlink(path, file, sizeof(file) - 1) > 0 && strncmp(file, dir, strlen(dir)) == 0)
                st->st_uid = (uid_t) atoi(uid);
        return r;
}

_public_ int fstat64(int fd, struct stat64 *st) {
        return fstat(fd, (struct stat *) st);
}

/* Maps the window of a region at its address. access is O_RDONLY or O_RDWR. */
static int attach(const char *name, void *addr, size_t length, int access) {
        int prot = access == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ, flags = MAP_SHARED;
        _cleanup_(closep) int fd = -1, info_fd = -1;
        struct mshare_info info;
        unsigned char taken;
        char buf[4096];

        if (!region_path(name, "", buf, sizeof(buf))) {
                errno = ENOSYS;
                return -1;
        }
        info_fd = open_any(buf, O_RDONLY | O_CLOEXEC, 0);
        if (info_fd < 0)
                return -1;
        if (read(info_fd, &info, sizeof(info)) != sizeof(info) || info.size != length) {
                errno = EINVAL;
                return -1;
        }

        if (!region_path(name, ".mem", buf, sizeof(buf))) {
                errno = ENAMETOOLONG;
                return -1;
        }
        fd = open_memory(buf, length, access);
        /* The region is empty: the window exists, but nothing in it can be accessed. */
        if (fd < 0 && errno == ENOENT) {
                prot = PROT_NONE;
                fd = TAKE_FD(info_fd);
                flags = MAP_PRIVATE;
        }
        if (fd < 0)
                return -1;

        /* The kernel and mshare() return EEXIST if the range is in use; valgrind would not. */
        if (mincore(addr, 1, &taken) == 0) {
                errno = EEXIST;
                return -1;
        }
        flags |= MAP_FIXED_NOREPLACE | MAP_NORESERVE;
        return syscall(SYS_mmap, addr, length, (long) prot, (long) flags, (long) fd, 0L) == -1 ? -1 : 0;
}

_public_ int mshare(const char *name, void *addr, size_t length, int oflag, mode_t mode) {
        const char *broken = getenv("FAKE_MSHARE_ERRNO");

        if (broken) {
                errno = atoi(broken);
                return -1;
        }
        return attach(name, addr, length, oflag);
}

/* The name of the region that the file belongs to; false if it belongs to none. */
static bool is_region(int fd, char *name, size_t size) {
        const char *dir = getenv("FAKE_MSHARE");
        char path[64], file[4096] = "", *base;

        if (fd < 0 || !dir)
                return false;
        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (readlink(path, file, sizeof(file) - 1) <= 0 || strncmp(file, dir, strlen(dir)) != 0 ||
            file[strlen(dir)] != '/')
                return false;
        base = file + strlen(dir) + 1;
        /* A removed name leaves the open file as it was, but the region is gone. */
        if (strlen(base) > 10 && streq(base + strlen(base) - 10, " (deleted)"))
                base[strlen(base) - 10] = '\0';
        return !strchr(base, '/') && (size_t) snprintf(name, size, "%s", base) < size;
}

/* Attaches by descriptor. FAKE_MMAP_ERRNO is the error to return; 19 stands for a kernel that cannot do this. */
static void *attach_file(const char *name, void *addr, size_t length, int prot, int flags, int fd, off_t offset) {
        const char *broken = getenv("FAKE_MMAP_ERRNO");
        bool writable = prot & PROT_WRITE;

        if (broken)
                errno = atoi(broken);
        else if (flags != MAP_SHARED || offset != 0)
                errno = EINVAL;
        else if (writable && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
                errno = EACCES;
        else if (attach(name, addr, length, writable ? O_RDWR : O_RDONLY) == 0)
                return addr;
        return MAP_FAILED;
}

/* Called before other replacements of the function, which the preload library or a sanitizer may have. */
_public_ void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset) {
        static void *(*next)(void *, size_t, int, int, int, off_t);
        static bool asked;
        char name[256];

        if (is_region(fd, name, sizeof(name)))
                return attach_file(name, addr, length, prot, flags, fd, offset);
        if (!asked) {
                /* The lookup may map memory. */
                asked = true;
                next = (__typeof__(next)) dlsym(RTLD_NEXT, "mmap");
        }
        if (next)
                return next(addr, length, prot, flags, fd, offset);
        return (void *) syscall(SYS_mmap, addr, length, (long) prot, (long) flags, (long) fd, offset);
}

_public_ void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
        __attribute__((alias("mmap")));

_public_ int mshare_unlink(const char *name) {
        errno = ENOSYS;
        return -1;
}
