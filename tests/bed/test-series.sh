#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# kernel/series.sh against a small tree made up here. Speaks TAP.
set -u

tool=$(cd "$(dirname "$0")/../../kernel" && pwd)/series.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0

result() { # result NAME STATUS
        count=$((count + 1))
        if [ "$2" = 0 ]; then echo "ok $count - $1"; else echo "not ok $count - $1"; fi
}
is() { [ "$1" = "$2" ]; }

g() {
        GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a \
                GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a git -C "$@"
}

# A pristine tree, and a developer's repository with two changes on top.
src=$work/src dev=$work/dev
export MSHARE_SERIES_DIR=$work/kernel
mkdir -p "$src/mm" "$MSHARE_SERIES_DIR"/{patches,files/mm,files/include}
printf '%s\n' 1 2 3 4 5 6 7 8 > "$src/mm/memory.c"
echo 'obj-y += memory.o' > "$src/mm/Makefile"
echo untouched > "$src/mm/other.c"
cp -r "$src" "$dev"
g "$dev" init -q
g "$dev" add -A
g "$dev" commit -q -m pristine
g "$dev" tag pristine
echo 'obj-y += mshare.o' >> "$dev/mm/Makefile"
g "$dev" commit -q -a -m 'mm: build it' -m 'Because it is there.'
g "$dev" format-patch -q -o "$MSHARE_SERIES_DIR/patches" -1
sed -i 's/^4$/four/' "$dev/mm/memory.c"
g "$dev" commit -q -a -m '[RFC] mm: use it'
g "$dev" format-patch -q --start-number 2 --keep-subject -o "$MSHARE_SERIES_DIR/patches" -1
echo 'int mshare;' > "$MSHARE_SERIES_DIR/files/mm/mshare.c"
echo 'extern int mshare;' > "$MSHARE_SERIES_DIR/files/include/mshare.h"
first=0001-mm-build-it.patch
second=0002-RFC-mm-use-it.patch
good="# comment
$first mm/mshare.c   # with its file
$second include/mshare.h"
series() { printf '%s\n' "$1" > "$MSHARE_SERIES_DIR/series"; }

# refused NAME WORDS: the check fails and says so in these words.
refused() {
        "$tool" check > "$work/out" 2>&1
        [ $? = 1 ] && grep -qF -- "$2" "$work/out"
        result "$1" $?
}

"$tool" check > "$work/out" 2>&1 && [ ! -s "$work/out" ]
result 'without a series files may lie ready' $?
series '# nothing yet'
is "$("$tool" mbox "$src" | wc -c)" 0
result 'an empty series is an empty mbox' $?

series "$good"
"$tool" check
result 'a right series is accepted' $?
"$tool" stage "$src" "$work/stage" && cmp -s "$work/stage/mm/memory.c" "$dev/mm/memory.c" &&
        cmp -s "$work/stage/mm/mshare.c" "$MSHARE_SERIES_DIR/files/mm/mshare.c"
result 'the stage holds patched and new files' $?
is "$(tr '\n' ' ' < "$work/stage/.git/mshare-paths")" 'include/mshare.h mm/Makefile mm/memory.c mm/mshare.c '
result 'and nothing else' $?
# A patch outside the series, for a file that the series leaves alone.
printf '%s\n' 'From: a <a@a>' 'Subject: [PATCH] mm: mend' '' '---' '--- a/mm/other.c' '+++ b/mm/other.c' '@@ -1 +1 @@' -untouched +mended > "$work/bed.patch"
"$tool" stage "$src" "$work/bed" "$work/bed.patch" && is "$(cat "$work/bed/mm/other.c")" mended &&
        cmp -s "$work/bed/mm/memory.c" "$dev/mm/memory.c" && grep -qxF mm/other.c "$work/bed/.git/mshare-paths"
result 'a patch outside the series comes last' $?
"$tool" mbox "$src" | grep -qF mm/other.c
is $? 1
result 'and does not leave with it' $?
sed -i 's/^-untouched/-touched/' "$work/bed.patch"
"$tool" stage "$src" "$work/bed" "$work/bed.patch" 2> "$work/out"
is "$? $(grep -c '^kernel/series: bed.patch does not apply' "$work/out")" '1 1'
result 'one that does not apply is an error' $?

"$tool" mbox "$src" > "$work/mbox"
cp -r "$src" "$work/am"
g "$work/am" init -q
g "$work/am" add -A
g "$work/am" commit -q -m pristine
g "$work/am" am -q "$work/mbox"
result 'git am takes the mbox' $?
cp -r "$work/stage/." "$work/all"
rm -rf "$work/all/.git"
cp "$src/mm/other.c" "$work/all/mm/"
diff -r -x .git "$work/am" "$work/all"
result 'and gives the tree that is built' $?
[ "$(g "$work/am" log --format=%s -- mm/mshare.c)" = 'mm: build it' ] &&
        [ "$(g "$work/am" log --format=%s -- include/mshare.h)" = 'mm: use it' ]
result 'new files enter with the patch that names them' $?
g "$work/am" log --format=%b | grep -q '^Because it is there.$'
result 'messages survive' $?

series "$first mm/mshare.c
$second"
refused 'a file that no line names' 'no line names this file of kernel/files: include/mshare.h'
series "$good mm/mshare.c"
refused 'a file named twice' "file named twice, by $first and by $second: mm/mshare.c"
series "$good mm/nowhere.c"
refused 'a file that does not exist' 'mm/nowhere.c'
series "$first mm/mshare.c include/mshare.h"
refused 'a patch that no line names' "no line names this patch: $second"
series "$good
$second"
refused 'a patch named twice' "patch named twice: $second"
series "$good
0003-missing.patch"
refused 'a patch that does not exist' 'no such patch: kernel/patches/0003-missing.patch'

series "$good"
sed -i 's/^4$/vier/' "$src/mm/memory.c"
"$tool" stage "$src" "$work/stage" > "$work/out" 2>&1
[ $? = 1 ] && grep -qF "$second does not apply" "$work/out"
result 'a patch that does not apply is named' $?

echo "1..$count"
