/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* Runs a fuzz target over the files of a directory, over each also truncated and with flipped bits; prints TAP. */
static int run_file(const char *dir, const char *name) {
        char path[4096];
        uint8_t buf[65536], changed[65536];
        size_t n;
        FILE *f;

        (void) snprintf(path, sizeof(path), "%s/%s", dir, name);
        f = fopen(path, "re");
        if (!f)
                return -1;
        n = fread(buf, 1, sizeof(buf), f);
        (void) fclose(f);
        (void) LLVMFuzzerTestOneInput(buf, n);
        for (size_t i = 0; i < n; i++) {
                (void) LLVMFuzzerTestOneInput(buf, i);
                for (int bit = 0; bit < 8; bit++) {
                        memcpy(changed, buf, n);
                        changed[i] ^= (uint8_t) (1 << bit);
                        (void) LLVMFuzzerTestOneInput(changed, n);
                }
        }
        return 0;
}

int main(int argc, char **argv) {
        struct dirent *de;
        int n = 0, failed = 0;
        DIR *d;

        if (argc != 2 || !(d = opendir(argv[1]))) {
                (void) fprintf(stderr, "Expected a directory with inputs\n");
                return 2;
        }
        while ((de = readdir(d))) {
                int r;

                if (de->d_name[0] == '.')
                        continue;
                r = run_file(argv[1], de->d_name);
                failed += r < 0;
                (void) printf("%sok %d - %s\n", r < 0 ? "not " : "", ++n, de->d_name);
        }
        (void) closedir(d);
        (void) printf("1..%d\n", n);
        return failed > 0 || n == 0;
}
