/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <assert.h>

#include "fuzz.h"
#include "kernel/kernel.h"
#include "model/lease.h"
#include "model/name.h"

/* File names of leases, names of regions, and fdinfo texts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(lease_record_done) LeaseRecord a = {}, b = {};
        _cleanup_(freep) char *text = NULL, *name = NULL, *escaped = NULL, *back = NULL;
        KernelUsage usage;
        uint64_t bytes, swap;
        int r;

        text = fuzz_text(data, size);
        assert(text);
        (void) kernel_parse_fdinfo(text, &usage);
        (void) kernel_fdinfo_is_read_only(text);
        (void) kernel_parse_meminfo(text, &bytes, &swap);
        (void) kernel_parse_node_meminfo(text, &bytes);
        /* A name that can be created can be adopted. */
        assert(!region_name_is_valid(text) || region_name_is_adoptable(text));
        escaped = line_escape(text);
        assert(escaped && !strchr(escaped, '\n'));
        r = line_unescape(escaped, &back);
        assert(r == 0 && streq(back, text));
        if (lease_record_parse(text, &a) < 0) {
                assert(!a.sender && !a.unit);
                return 0;
        }
        name = lease_record_format(&a);
        assert(name);
        r = lease_record_parse(name, &b);
        assert(r == 0 && a.id == b.id && a.region_id == b.region_id && a.uid == b.uid && a.access == b.access);
        return 0;
}
