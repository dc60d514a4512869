/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of a region that does what its standard input says, for tests/guest/library.sh. One command on a line,
 * one answer on a line: "ok" with a result, or "error ERRNO" with the sentence.
 *
 *   acquire NAME r|rw   attach NAME by the library; "ok ADDRESS LENGTH SIZE"
 *   raw NAME r|rw ADDRESS LENGTH   attach it by mshare(2) alone
 *   detach, attach, release
 *   put OFFSET WORD, get OFFSET    a string in the region
 *   try OFFSET          write there in a child; "ok written" or "ok signal N"
 *   touch BYTES         read a byte of each page; "ok MINOR-FAULTS" that it took
 *   fill BYTES          write a byte to each page; "ok MINOR-FAULTS"
 *   advise OFFSET BYTES ADVICE     madvise(2) with that number
 *   lock OFFSET BYTES
 *   check OFFSET BYTES WORD        "ok" if all of it is that word's first letter, or zero for "-"
 *   tables              "ok KIB" of page tables that this process has for itself
 *   fork                go on as a child; the parent waits for it
 *   exec                become a new program, of the same kind
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "mshare.h"
#include "util.h"

#define WORD_MAX 64

typedef struct Client {
        mshare_region *region;
        char *base; /* of the library's window or the raw one */
} Client;

static long minor_faults(void) {
        struct rusage usage = {};

        (void) getrusage(RUSAGE_SELF, &usage);
        return usage.ru_minflt;
}

static void tables(void) {
        unsigned long kib = 0;
        char line[256];
        FILE *f;

        f = fopen("/proc/self/status", "re");
        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "VmPTE: %lu kB", &kib) == 1)
                        break;
        if (f)
                (void) fclose(f);
        (void) printf("ok %lu\n", kib);
}

static void answer(int r, const char *message) {
        if (r < 0)
                (void) printf("error %d %s\n", -r, message ?: strerror(-r));
        else
                (void) puts("ok");
}

static void acquire(Client *c, const char *name, const char *access) {
        _cleanup_(freep) char *message = NULL;
        int r;

        r = mshare_region_acquire(name, streq(access, "rw") ? O_RDWR : O_RDONLY, NULL, &c->region, &message);
        if (r < 0) {
                answer(r, message);
                return;
        }
        c->base = mshare_region_address(c->region);
        (void) printf("ok %p %zu %zu\n", (void *) c->base, mshare_region_length(c->region),
                      mshare_region_size(c->region));
}

static void attach_raw(Client *c, const char *name, const char *access, uint64_t address, uint64_t length) {
        void *p = (void *) (uintptr_t) address;
        int r;

        r = mshare(name, p, length, streq(access, "rw") ? O_RDWR : O_RDONLY, 0) < 0 ? -xerrno() : 0;
        if (r == 0)
                c->base = p;
        answer(r, NULL);
}

static void try_write(const Client *c, size_t offset) {
        int status = 0;
        pid_t pid;

        (void) fflush(stdout);
        pid = fork();
        if (pid == 0) {
                ((volatile char *) c->base)[offset] = '!';
                _exit(0);
        }
        (void) waitpid(pid, &status, 0);
        if (WIFSIGNALED(status))
                (void) printf("ok signal %d\n", WTERMSIG(status));
        else
                (void) puts("ok written");
}

static void touch(const Client *c, size_t bytes, bool write) {
        volatile char *p = c->base;
        long before = minor_faults();
        size_t i;

        for (i = 0; i < bytes; i += 4096)
                if (write)
                        p[i] = 'f';
                else
                        (void) p[i];
        (void) printf("ok %ld\n", minor_faults() - before);
}

static void check_all(const Client *c, size_t offset, size_t bytes, char want) {
        const volatile char *p = c->base + offset;

        for (size_t i = 0; i < bytes; i += 4096)
                if (p[i] != want) {
                        (void) printf("error 5 at %zu is %d\n", offset + i, p[i]);
                        return;
                }
        answer(0, NULL);
}

static void become_child(void) {
        int status = 0;
        pid_t pid;

        (void) fflush(stdout);
        pid = fork();
        if (pid > 0) {
                (void) waitpid(pid, &status, 0);
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
        }
        answer(pid < 0 ? -xerrno() : 0, NULL);
}

static bool is_about_memory(const char *line) {
        static const char *const words[] = { "put ", "get ", "try ", "touch ", "fill ", "advise ", "lock ", "check " };

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
                if (strncmp(line, words[i], strlen(words[i])) == 0)
                        return true;
        return false;
}

static void obey(Client *c, const char *line) {
        _cleanup_(freep) char *message = NULL;
        char name[256], access[8], word[WORD_MAX];
        uint64_t a, b;
        int r, advice;

        if (!c->base && is_about_memory(line))
                answer(-ENXIO, "no region is attached");
        else if (sscanf(line, "acquire %255s %7s", name, access) == 2)
                acquire(c, name, access);
        else if (sscanf(line, "raw %255s %7s %" SCNi64 " %" SCNi64, name, access, (int64_t *) &a, (int64_t *) &b) == 4)
                attach_raw(c, name, access, a, b);
        else if (streq(line, "detach"))
                answer(mshare_region_detach(c->region), NULL);
        else if (streq(line, "attach")) {
                r = mshare_region_attach(c->region, &message);
                answer(r, message);
        } else if (streq(line, "release")) {
                r = mshare_region_release(c->region);
                if (r >= 0)
                        c->region = NULL;
                answer(r, NULL);
        } else if (sscanf(line, "put %" SCNu64 " %63s", &a, word) == 2) {
                strcpy(c->base + a, word);
                answer(0, NULL);
        } else if (sscanf(line, "get %" SCNu64, &a) == 1)
                (void) printf("ok %.*s\n", WORD_MAX, c->base + a);
        else if (sscanf(line, "try %" SCNu64, &a) == 1)
                try_write(c, a);
        else if (sscanf(line, "touch %" SCNu64, &a) == 1)
                touch(c, a, false);
        else if (sscanf(line, "fill %" SCNu64, &a) == 1)
                touch(c, a, true);
        else if (sscanf(line, "advise %" SCNu64 " %" SCNu64 " %d", &a, &b, &advice) == 3)
                answer(madvise(c->base + a, b, advice) < 0 ? -xerrno() : 0, NULL);
        else if (sscanf(line, "lock %" SCNu64 " %" SCNu64, &a, &b) == 2)
                answer(mlock(c->base + a, b) < 0 ? -xerrno() : 0, NULL);
        else if (sscanf(line, "check %" SCNu64 " %" SCNu64 " %63s", &a, &b, word) == 3)
                check_all(c, a, b, (char) (*word == '-' ? 0 : *word));
        else if (streq(line, "tables"))
                tables();
        else if (streq(line, "fork"))
                become_child();
        else if (streq(line, "exec")) {
                (void) execl("/proc/self/exe", "guest-client", NULL);
                answer(-xerrno(), NULL);
        } else
                answer(-EINVAL, line);
}

int main(void) {
        Client c = {};
        char line[512];

        /* Read byte by byte from the pipe, so that a child continues where its parent stopped reading. */
        (void) setvbuf(stdin, NULL, _IONBF, 0);
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        (void) puts("ok ready");
        while (fgets(line, sizeof(line), stdin)) {
                line[strcspn(line, "\n")] = '\0';
                obey(&c, line);
        }
        return 0;
}
