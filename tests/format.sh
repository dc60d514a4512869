#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# C files of userspace and their tests are formatted as .clang-format says. Speaks TAP.
set -euo pipefail

cd "$(dirname "$0")/.."
echo 1..1
# Other versions break some lines elsewhere.
if ! clang-format --version 2> /dev/null | grep -q 'version 14\.'; then
        echo 'ok 1 - formatted # SKIP clang-format 14 is not installed'
        exit 0
fi
files=$(find base daemon lib ctl region tests/base tests/ctl tests/daemon tests/fuzz tests/lib tests/region -name '*.[ch]' | LC_ALL=C sort)
# shellcheck disable=SC2086 # no name has blanks
if wrong=$(clang-format --dry-run -Werror $files 2>&1); then
        echo 'ok 1 - formatted'
else
        echo 'not ok 1 - formatted'
        sed -n 's/^\([^ :]*:[0-9]*\):[0-9]*: error:.*/# \1: run clang-format -i on it/p' <<< "$wrong" | sort -u
        exit 1
fi
