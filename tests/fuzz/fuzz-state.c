/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <assert.h>

#include "fuzz.h"
#include "model/name.h"
#include "model/record.h"

/* What is read from a state file is valid, and stays the same when it is written and read again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(region_record_done) RegionRecord a = {}, b = {};
        _cleanup_(freep) char *text = NULL, *first = NULL, *second = NULL, *copy = NULL;
        int r;

        text = fuzz_text(data, size);
        assert(text);
        r = region_record_parse(text, &a);
        assert(r >= 0);
        assert(a.mode <= 0777);
        /* What could be read of a damaged one. */
        assert(!a.name || region_name_is_adoptable(a.name));
        assert(!a.label || strlen(a.label) <= LABEL_MAX);
        assert(!a.has_size || (a.size > 0 && (!a.has_window || a.size <= a.length)));
        if (r > 0)
                return 0;
        assert(a.name && a.has_id && a.has_size && a.has_window && a.has_created && a.has_ready);
        first = region_record_format(&a);
        copy = first ? strdup(first) : NULL;
        assert(copy);
        r = region_record_parse(copy, &b);
        assert(r == 0);
        second = region_record_format(&b);
        assert(second && streq(first, second));
        return 0;
}
