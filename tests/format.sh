#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# C files of userspace and their tests are formatted as .clang-format says, and types have
# names as doc/style.md says. Speaks TAP.
set -euo pipefail

cd "$(dirname "$0")/.."
files=$(find base daemon lib ctl region tests -name '*.[ch]' | LC_ALL=C sort)
failed=0
echo 1..2
# mshare.h is for programs of any style, and region.h defines what it declares.
# shellcheck disable=SC2086 # no name has blanks
wrong=$(awk 'FILENAME != "lib/mshare.h" && /^(typedef |static |const )*(struct|enum|union) [a-z][a-z0-9_]*( \{|;)/ && !/^(typedef )?struct mshare_region/ {
        print "# " FILENAME ":" FNR ": " $0 }' $files)
if [ -z "$wrong" ]; then
        echo 'ok 1 - types have names in CamelCase'
else
        echo 'not ok 1 - types have names in CamelCase'
        echo "$wrong"
        failed=1
fi
# Versions differ in where they break some lines; 14 is Debian 12's. There, ./run test installs it and sets this variable.
formatter=
for tool in clang-format-14 clang-format; do
        if $tool --version 2> /dev/null | grep -q 'version 14\.'; then
                formatter=$tool
                break
        fi
done
if [ -z "$formatter" ]; then
        if [ -z "${MSHARE_NEEDS_FORMATTER:-}" ]; then
                echo 'ok 2 - formatted # SKIP clang-format 14 is not installed; Debian 12 has it'
                exit $failed
        fi
        echo 'not ok 2 - formatted'
        echo '# clang-format 14 is not installed'
        exit 1
fi
# shellcheck disable=SC2086 # no name has blanks
if wrong=$($formatter --dry-run -Werror $files 2>&1); then
        echo 'ok 2 - formatted'
else
        echo 'not ok 2 - formatted'
        sed -n 's/^\([^ :]*:[0-9]*\):[0-9]*: error:.*/# \1: run clang-format -i on it/p' <<< "$wrong" | sort -u
        failed=1
fi
exit $failed
