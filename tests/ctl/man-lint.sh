#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Manual pages without warnings, of mandoc and of groff: man-lint.sh PAGE...
set -u

missing=
for tool in mandoc man; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ "$missing" = ' mandoc man' ]; then
        echo '1..0 # SKIP neither mandoc nor man is installed'
        exit 0
fi

count=0
failed=0
for page; do
        count=$((count + 1))
        warnings=
        if command -v mandoc >/dev/null; then
                warnings=$(mandoc -T lint -W warning "$page" 2>&1)
        fi
        if command -v man >/dev/null; then
                warnings=$warnings$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
        fi
        if [ -z "$warnings" ]; then
                echo "ok $count - ${page##*/}"
        else
                echo "not ok $count - ${page##*/}"
                echo "$warnings" | sed 's/^/# /'
                failed=1
        fi
done
[ -z "$missing" ] || echo "# not installed, so its warnings were not asked for:$missing"
echo "1..$count"
exit $failed
