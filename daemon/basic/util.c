/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Small tools for strings, numbers and files. They know nothing about regions. */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "basic/util.h"

int free_and_strdup(char **p, const char *s) {
        char *copy = NULL;

        if (s) {
                copy = strdup(s);
                if (!copy)
                        return -ENOMEM;
        }
        free(*p);
        *p = copy;
        return 0;
}

int parse_u64(const char *s, unsigned base, uint64_t *ret) {
        unsigned long long v;
        char *end;

        /* strtoull() accepts blanks, signs and "0x". The broker's files must not contain them. */
        if (!isxdigit((unsigned char) *s) || (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')))
                return -EINVAL;
        errno = 0;
        v = strtoull(s, &end, (int) base);
        if (errno == ERANGE)
                return -ERANGE;
        if (errno != 0 || end == s || *end)
                return -EINVAL;
        *ret = v;
        return 0;
}

int parse_u32(const char *s, unsigned base, uint32_t *ret) {
        uint64_t v;
        int r;

        r = parse_u64(s, base, &v);
        if (r < 0)
                return r;
        if (v > UINT32_MAX)
                return -ERANGE;
        *ret = (uint32_t) v;
        return 0;
}

int parse_bool(const char *s, bool *ret) {
        static const char *const words[][2] = {
                { "no", "yes" },
                { "false", "true" },
                { "off", "on" },
                { "0", "1" },
        };

        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                for (int v = 0; v < 2; v++)
                        if (strcasecmp(s, words[i][v]) == 0) {
                                *ret = v;
                                return 0;
                        }
        return -EINVAL;
}

char *line_escape(const char *s) {
        char *out, *p;

        out = malloc(strlen(s) * 4 + 1);
        if (!out)
                return NULL;
        for (p = out; *s; s++) {
                unsigned char c = (unsigned char) *s;

                if (c < 0x20 || c == 0x7f || c == '\\')
                        p += sprintf(p, "\\x%02x", c);
                else
                        *p++ = *s;
        }
        *p = 0;
        return out;
}

static int unhex(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return -EINVAL;
}

int line_unescape(const char *s, char **ret) {
        _cleanup_(freep) char *out = NULL;
        char *p;

        out = malloc(strlen(s) + 1);
        if (!out)
                return -ENOMEM;
        for (p = out; *s; s++) {
                int hi, lo;

                if (*s != '\\') {
                        *p++ = *s;
                        continue;
                }
                if (s[1] != 'x')
                        return -EINVAL;
                hi = unhex(s[2]);
                lo = hi < 0 ? hi : unhex(s[3]);
                if (lo < 0 || (hi | lo) == 0)
                        return -EINVAL;
                *p++ = (char) (hi << 4 | lo);
                s += 3;
        }
        *p = 0;
        *ret = TAKE_PTR(out);
        return 0;
}

int read_file(int dirfd, const char *name, size_t max, char **ret, size_t *ret_size) {
        _cleanup_(freep) char *buf = NULL;
        _cleanup_(closep) int fd = -1;
        struct stat st;
        size_t n = 0;

        /* O_NONBLOCK: open() must not sleep if another process has put a FIFO there. */
        fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        buf = malloc(max + 2);
        if (!buf)
                return -ENOMEM;
        for (;;) {
                ssize_t k = read(fd, buf + n, max + 1 - n);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        break;
                n += (size_t) k;
                if (n > max)
                        return -EFBIG;
        }
        buf[n] = 0;
        if (memchr(buf, 0, n))
                return -EILSEQ;
        *ret = TAKE_PTR(buf);
        if (ret_size)
                *ret_size = n;
        return 0;
}

int write_file_atomic(int dirfd, const char *name, const char *content) {
        /* One writer, one thread: one name for the half-written file is enough, and a leftover is overwritten. */
        static const char temporary[] = ".#new";
        _cleanup_(closep) int fd = -1;
        size_t left = strlen(content);
        int r;

        fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        while (left > 0) {
                ssize_t k = write(fd, content, left);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        r = -errno;
                        goto fail;
                }
                content += k;
                left -= (size_t) k;
        }
        if (renameat(dirfd, temporary, dirfd, name) < 0) {
                r = -errno;
                goto fail;
        }
        return 0;

fail:
        (void) unlinkat(dirfd, temporary, 0);
        return r;
}

int for_each_entry(int dirfd, int (*found)(const char *name, void *userdata), void *userdata) {
        _cleanup_(closedirp) DIR *dir = NULL;
        struct dirent *de;
        int fd, r;

        fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        dir = fdopendir(fd);
        if (!dir) {
                r = -errno;
                safe_close(fd);
                return r;
        }
        for (;;) {
                errno = 0;
                de = readdir(dir);
                if (!de)
                        return -errno;
                if (streq(de->d_name, ".") || streq(de->d_name, ".."))
                        continue;
                r = found(de->d_name, userdata);
                if (r != 0)
                        return r;
        }
}

int open_or_make_dir(int dirfd, const char *name, mode_t mode) {
        int fd;

        if (mkdirat(dirfd, name, mode) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? -errno : fd;
}
