/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tracing-rates REGION COMMAND ARGS...: run the command and print what
 * "msharectl top" counts meanwhile: faults and flushes. msharectl itself needs a
 * bus, which the guest of the kernel selftests does not have.
 */
#include <err.h>
#include <inttypes.h>
#include <sys/wait.h>

#include "../../ctl/rates.c"

int main(int argc, char **argv) {
        uint64_t n[_COUNTER_MAX];
        Counters c;
        int r, status;
        pid_t child;

        if (argc < 3)
                errx(2, "usage: tracing-rates REGION COMMAND ARGS...");
        r = counters_open(TRACEFS_PATH, argv[1], &c);
        if (r < 0)
                errx(1, "cannot count: %s", strerror(-r));
        child = fork();
        if (child == 0) {
                execv(argv[2], argv + 2);
                err(1, "%s", argv[2]);
        }
        if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
                errx(1, "the command failed");
        r = counters_read(&c, n);
        if (r < 0)
                errx(1, "cannot read the counters: %s", strerror(-r));
        printf("%" PRIu64 " %" PRIu64 "\n", n[COUNTER_FAULTS], n[COUNTER_FLUSHES]);
        counters_close(&c);
        return 0;
}
