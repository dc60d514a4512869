/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads and writes memory policies as text, and compares sets of nodes. It allocates nothing, and does not look at the
 * machine.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "macro.h"
#include "numa.h"

static int parse_node(const char **s, unsigned int *ret) {
        unsigned int n = 0;

        if (**s < '0' || **s > '9')
                return -EINVAL;
        for (; **s >= '0' && **s <= '9'; (*s)++) {
                n = n * 10 + (unsigned int) (**s - '0');
                if (n >= NUMA_NODES_MAX)
                        return -EINVAL;
        }
        *ret = n;
        return 0;
}

int numa_parse_nodes(const char *s, NumaNodes *ret) {
        unsigned int first, last;
        NumaNodes nodes = {};

        for (;;) {
                if (parse_node(&s, &first) < 0)
                        return -EINVAL;
                last = first;
                if (*s == '-') {
                        s++;
                        if (parse_node(&s, &last) < 0 || last < first)
                                return -EINVAL;
                }
                for (; first <= last; first++)
                        nodes.bits[first / 64] |= UINT64_C(1) << (first % 64);
                if (*s == '\0')
                        break;
                if (*s++ != ',')
                        return -EINVAL;
        }
        *ret = nodes;
        return 0;
}

int numa_parse(const char *s, NumaPolicy *ret) {
        static const char bind[] = "bind:";
        NumaPolicy p = { .mode = NUMA_BIND };

        if (streq(s, "default"))
                p.mode = NUMA_DEFAULT;
        else if (streq(s, "interleave"))
                p.mode = NUMA_INTERLEAVE;
        else if (strncmp(s, bind, strlen(bind)) != 0 || numa_parse_nodes(s + strlen(bind), &p.nodes) < 0)
                return -EINVAL;
        *ret = p;
        return 0;
}

const char *numa_format(const NumaPolicy *policy, char *buf) {
        unsigned int i, last;
        size_t n;

        if (policy->mode != NUMA_BIND) {
                (void) snprintf(buf, NUMA_TEXT_MAX, "%s", policy->mode == NUMA_INTERLEAVE ? "interleave" : "default");
                return buf;
        }

        n = (size_t) snprintf(buf, NUMA_TEXT_MAX, "bind");
        for (i = 0; i < NUMA_NODES_MAX; i = last + 1) {
                last = i;
                if (!numa_has_node(&policy->nodes, i))
                        continue;
                while (last + 1 < NUMA_NODES_MAX && numa_has_node(&policy->nodes, last + 1))
                        last++;
                n += (size_t) snprintf(buf + n, NUMA_TEXT_MAX - n, "%c%u", n == 4 ? ':' : ',', i);
                if (last > i)
                        n += (size_t) snprintf(buf + n, NUMA_TEXT_MAX - n, "-%u", last);
        }
        return buf;
}

int numa_first_missing(const NumaNodes *wanted, const NumaNodes *present) {
        unsigned int i;

        for (i = 0; i < NUMA_NODES_MAX; i++)
                if (numa_has_node(wanted, i) && !numa_has_node(present, i))
                        return (int) i;
        return -1;
}
