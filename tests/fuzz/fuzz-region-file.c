/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Region files: what is accepted is valid, and a refusal leaves nothing behind. */
#include <assert.h>

#include "fuzz.h"
#include "kinds.h"
#include "macro.h"
#include "region-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(region_file_done) RegionFile f = {};
        _cleanup_(freep) char *text = NULL;

        text = fuzz_text(data, size);
        assert(text);
        if (region_file_parse("fuzz", text, true, &f) < 0) {
                assert(!f.user && !f.label && f.size == 0);
                return 0;
        }
        assert(f.size > 0 && f.size < UINT64_MAX && f.mode <= 0777);
        assert(!f.path || f.path[0] == '/');
        assert(!f.backing || backing_from_string(f.backing) >= 0);
        return 0;
}
