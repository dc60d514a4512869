/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads the texts in which the kernel reports numbers: a region's fdinfo, and meminfo. It parses text alone, and knows neither
 * files nor regions.
 */

#include <errno.h>

#include "basic/util.h"
#include "kernel/kernel-text.h"

/* The first word after "key:" at the start of a line, and its length; or NULL. */
static const char *find_value(const char *text, const char *key, size_t *ret_length) {
        size_t n = strlen(key);
        const char *p = text;

        while (p) {
                if (strncmp(p, key, n) == 0 && p[n] == ':') {
                        p += n + 1;
                        p += strspn(p, " \t");
                        *ret_length = strcspn(p, " \t\n");
                        return p;
                }
                p = strchr(p, '\n');
                if (p)
                        p++;
        }
        return NULL;
}

static int parse_line(const char *text, const char *key, uint64_t *ret) {
        char digits[24];
        const char *p;
        size_t k;

        p = find_value(text, key, &k);
        if (!p || k == 0 || k >= sizeof(digits))
                return -EBADMSG;
        memcpy(digits, p, k);
        digits[k] = 0;
        return parse_u64(digits, 10, ret) < 0 ? -EBADMSG : 0;
}

int kernel_parse_fdinfo(const char *text, KernelUsage *ret) {
        uint64_t sharers, writers, resident, pgtables;

        if (parse_line(text, "mshare-sharers", &sharers) < 0 || parse_line(text, "mshare-resident-kb", &resident) < 0 ||
            parse_line(text, "mshare-pgtables-kb", &pgtables) < 0)
                return -EBADMSG;
        if (resident > UINT64_MAX / 1024 || pgtables > UINT64_MAX / 1024)
                return -EBADMSG;
        if (parse_line(text, "mshare-writers", &writers) < 0)
                writers = sharers;
        *ret = (KernelUsage){
                .sharers = sharers, .writers = writers, .resident = resident * 1024, .pgtables = pgtables * 1024
        };
        return 0;
}

bool kernel_fdinfo_is_read_only(const char *text) {
        const char *access;
        size_t n;

        access = find_value(text, "mshare-access", &n);
        return access && n == 1 && *access == 'r';
}

int kernel_parse_meminfo(const char *text, uint64_t *ret, uint64_t *ret_swap) {
        uint64_t available, swap;

        if (parse_line(text, "MemAvailable", &available) < 0 || parse_line(text, "SwapFree", &swap) < 0 ||
            available > UINT64_MAX / 2048 || swap > UINT64_MAX / 2048)
                return -EBADMSG;
        *ret = (available + swap) * 1024;
        *ret_swap = swap * 1024;
        return 0;
}

int kernel_parse_node_meminfo(const char *text, uint64_t *ret) {
        static const char *const keys[] = { " MemFree:", " Active(file):", " Inactive(file):" };
        uint64_t sum = 0, n;
        char digits[24];
        const char *p;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                /* Each line begins with "Node N". */
                p = strstr(text, keys[i]);
                if (!p || sscanf(p + strlen(keys[i]), " %23[0-9]", digits) != 1 || parse_u64(digits, 10, &n) < 0 ||
                    n > UINT64_MAX / 8192)
                        return -EBADMSG;
                sum += n;
        }
        *ret = sum * 1024;
        return 0;
}
