/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Finds out about the process itself: recognizes commands that only check a configuration, by program name and switches, and
 * finds shared memory that the library has not seen. It reads /proc/self and nothing else.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "preload-look.h"
#include "util.h"

static const struct {
        const char *name; /* the program; '*' at the end stands for any version */
        const char *looks; /* letters of switches with which it does not run as a server */
        const char *with_value; /* letters of switches that take a value; the value is not a switch */
        const char *words[2]; /* long switches */
} programs[] = {
        { "nginx", "tTvVh?", "pcges", { "--help", NULL } },
        { "openresty", "tTvVh?", "pcges", { "--help", NULL } },
        { "angie", "tTvVh?", "pcges", { "--help", NULL } },
        { "apache2", "tSlLvVMh", "DdfCcEek", { NULL } },
        { "httpd", "tSlLvVMh", "DdfCcEek", { NULL } },
        { "php-fpm*", "tivmh", "cdgpyz", { "--test", "--info" } },
        /* -C prints the value of a setting. */
        { "postgres", "CV", "BcDdfhkNprStW", { "--describe-config", "--check" } },
};

static bool is_program(const char *pattern, const char *name) {
        size_t n = strlen(pattern);

        return pattern[n - 1] == '*' ? strncmp(pattern, name, n - 1) == 0 : streq(pattern, name);
}

bool preload_command_looks(const char *arguments, unsigned long size) {
        const char *end = arguments + size, *name, *p, *c;
        bool value = false;
        size_t i, j;

        name = memrchr(arguments, '/', strnlen(arguments, size));
        name = name ? name + 1 : arguments;
        for (i = 0; i < ELEMENTSOF(programs); i++)
                if (is_program(programs[i].name, name))
                        break;
        if (i == ELEMENTSOF(programs))
                return false;

        for (p = arguments + strlen(arguments) + 1; p < end; p += strlen(p) + 1) {
                if (value || p[0] != '-') {
                        value = false;
                        continue;
                }
                if (p[1] == '-') {
                        for (j = 0; j < ELEMENTSOF(programs[i].words); j++)
                                if (programs[i].words[j] && streq(programs[i].words[j], p))
                                        return true;
                        continue;
                }
                for (c = p + 1; *c; c++) {
                        if (strchr(programs[i].looks, *c))
                                return true;
                        if (strchr(programs[i].with_value, *c)) {
                                value = c[1] == '\0';
                                break;
                        }
                }
        }
        return false;
}

bool preload_only_looks(void) {
        _cleanup_(closep) int fd = -1;
        char arguments[4096];
        ssize_t n;

        fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return false;
        n = read(fd, arguments, sizeof(arguments) - 1);
        if (n <= 0)
                return false;
        arguments[n] = '\0';
        return preload_command_looks(arguments, (unsigned long) n);
}

size_t preload_largest_shared(void) {
        /* The kernel's names for memory: shared anonymous, System V, huge pages. */
        static const char *const names[] = { "/dev/zero (deleted)", "/SYSV", "/anon_hugepage" };
        FILE *maps = fopen("/proc/self/maps", "re");
        uintptr_t start, end;
        size_t largest = 0;
        char line[4352];
        int n;

        while (maps && fgets(line, sizeof(line), maps)) {
                n = 0;
                if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*1[r-]w%*1[x-]s %*x %*s %*u %n", &start, &end, &n) != 2 ||
                    n == 0 || end - start <= largest)
                        continue;
                for (size_t i = 0; i < ELEMENTSOF(names); i++)
                        if (strncmp(line + n, names[i], strlen(names[i])) == 0)
                                largest = end - start;
        }
        if (maps)
                (void) fclose(maps);
        return largest;
}
