#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The patch series: kernel/series names, line by line, a patch of
# kernel/patches and the files of kernel/files that enter the tree with it.
#
#   series.sh check            is every file named once, does every name exist?
#   series.sh stage SRC OUT [PATCH...]
#                              the files that the series touches, as they are
#                              after it, into OUT (a git work tree whose first
#                              commit holds them as they are in SRC);
#                              OUT/.git/mshare-paths lists them. PATCHes come
#                              last; they are files outside the series
#   series.sh mbox SRC         the series, new files and all, for git am
#
# SRC is a pristine kernel tree. MSHARE_SERIES_DIR stands in for kernel/ in tests.
set -euo pipefail

dir=${MSHARE_SERIES_DIR:-$(cd "$(dirname "$0")" && pwd)}

fail() {
        printf 'kernel/series: %s\n' "$*" >&2
        exit 1
}

# The series without comments and empty lines.
entries() {
        [ -f "$dir/series" ] || return 0
        sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e 's/^[[:space:]]*//' -e '/^$/d' "$dir/series"
}

new_files() {
        [ -d "$dir/files" ] || return 0
        # checkpatch writes a memo file into the directory where it runs.
        (cd "$dir/files" && find . -type f ! -name '.checkpatch-*' -printf '%P\n' | LC_ALL=C sort)
}

# check [lenient]: lenient only warns of a file that no line names, so that a
# kernel can be built while somebody writes the next file.
check() {
        local line patch file twice patches=()
        local -A seen=()

        # Without a series the kernel is the stock one, and there may already be files
        # for it.
        [ -n "$(entries)" ] || return 0
        while read -r -a line; do
                patch=${line[0]}
                [ -f "$dir/patches/$patch" ] || fail "no such patch: kernel/patches/$patch"
                if grep -q '^rename from ' "$dir/patches/$patch"; then
                        fail "$patch renames a file: make it a removal and a new file"
                fi
                patches+=("$patch")
                for file in "${line[@]:1}"; do
                        [ -f "$dir/files/$file" ] || fail "$patch names a file that is not in kernel/files: $file"
                        [ -z "${seen[$file]:-}" ] || fail "file named twice, by ${seen[$file]} and by $patch: $file"
                        seen[$file]=$patch
                done
        done < <(entries)

        twice=$(printf '%s\n' "${patches[@]}" | sort | uniq -d)
        [ -z "$twice" ] || fail "patch named twice: $twice"
        while read -r file; do
                [ -z "${seen[$file]:-}" ] || continue
                [ "${1:-}" = lenient ] || fail "no line names this file of kernel/files: $file"
                printf 'kernel/series: warning: no line names this file of kernel/files: %s\n' "$file" >&2
        done < <(new_files)
        for file in "$dir"/patches/*.patch; do
                [ -e "$file" ] || continue
                # Not from a pipe: grep does not read to its end, and the writer would
                # be killed.
                grep -qxF "${file##*/}" <<< "$(printf '%s\n' "${patches[@]}")" ||
                        fail "no line names this patch: ${file##*/}"
        done
}

# git without the settings of the user and the machine.
plain_git() {
        GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 \
                GIT_COMMITTER_NAME=mshare GIT_COMMITTER_EMAIL=mshare@localhost \
                GIT_AUTHOR_NAME=mshare GIT_AUTHOR_EMAIL=mshare@localhost \
                git -C "$out" -c core.autocrlf=false -c gc.auto=0 -c commit.gpgsign=false "$@"
}

# stage SRC OUT [PATCH...]; lenient=lenient as in check.
stage() {
        local src=$1 out=$2 line patch file
        shift 2

        check "${lenient:-}"
        rm -rf "$out"
        mkdir -p "$out"
        plain_git init -q -b series
        {
                while read -r -a line; do
                        (cd / && git apply --numstat -- "$dir/patches/${line[0]}") | cut -f3-
                        for file in "${line[@]:1}"; do printf '%s\n' "$file"; done
                done < <(entries)
                for patch in "$@"; do (cd / && git apply --numstat -- "$patch") | cut -f3-; done
        } | LC_ALL=C sort -u > "$out/.git/mshare-paths"

        while read -r file; do
                [ -e "$src/$file" ] || continue
                mkdir -p "$out/$(dirname "$file")"
                cp -- "$src/$file" "$out/$file"
        done < "$out/.git/mshare-paths"
        plain_git add -A -f
        plain_git commit -q --allow-empty -m 'pristine'
        plain_git tag pristine

        while read -r -a line; do
                patch=${line[0]}
                for file in "${line[@]:1}"; do
                        [ ! -e "$src/$file" ] || fail "a file of kernel/files exists in the kernel already: $file"
                done
                apply "$dir/patches/$patch"
                [ ${#line[@]} -gt 1 ] || continue
                for file in "${line[@]:1}"; do
                        mkdir -p "$out/$(dirname "$file")"
                        cp -- "$dir/files/$file" "$out/$file"
                        plain_git add -f -- "$file"
                done
                plain_git commit -q --amend --no-edit
        done < <(entries)
        for patch in "$@"; do apply "$patch"; done
}

# apply PATCH: to the files in $out.
apply() {
        plain_git am -q --keep-non-patch --whitespace=nowarn "$1" > "$out/.git/am.log" 2>&1 < /dev/null || {
                cat "$out/.git/am.log" >&2
                fail "${1##*/} does not apply to this kernel source"
        }
}

mbox() {
        local src=$1 out
        out=$(mktemp -d)
        # shellcheck disable=SC2064
        trap "rm -rf '$out'" EXIT
        stage "$src" "$out"
        plain_git format-patch -q --stdout --keep-subject --no-signature --no-renames --zero-commit --full-index pristine..series
}

case ${1:-} in
check) check ;;
stage) lenient=lenient && stage "${@:2}" ;;
mbox) mbox "$2" ;;
*)
        sed -n '3,17s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
