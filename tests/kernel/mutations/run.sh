#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Does a test notice each fault of mutations.list? The mutants kernel boots once for each, two at a time, and once
# without a fault, where all those tests must pass. Speaks TAP.
#
#   run.sh [NAME...]      all, or those
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# boot NUMBER TEST...: run the tests in a guest with that mutation switched on. The last line of the output is the
# guest's exit status.
boot() {
        local number=$1 command='rc=0; ' test
        shift
        for test in "$@"; do
                command+="/tests/${test%:*} -t ${test#*:} || rc=\$?; "
        done
        "$root/run" guest -k mutants --init selftest --timeout $((200 + 60 * $#)) --append "mshare_mutant=$number" \
                -- sh -c "$command exit \$rc" < /dev/null && number=0 || number=$?
        echo "$number"
}

# judge FILE: "noticed", or what went wrong.
judge() {
        # If a guest dies while it boots, that says nothing about the fault.
        grep -q '^TAP version' "$1" || { echo 'the test did not begin'; return; }
        case $(tail -n 1 "$1") in
        0) echo 'no test fails' ;;
        4) echo 'the test is skipped' ;;
        2 | 127) echo 'the test cannot be run' ;;
        124) echo 'noticed: the test hangs' ;;
        125) echo 'noticed: the kernel complains' ;;
        126) echo 'noticed: the guest dies' ;;
        *) echo 'noticed: the test fails' ;;
        esac
}

mapfile -t lines < <("$here/apply.py" list)
chosen=()
for line in "${lines[@]}"; do
        IFS=$'\t' read -r _ name _ <<< "$line"
        [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
        chosen+=("$line")
done
[ ${#chosen[@]} -gt 0 ] || { echo "Bail out! no such mutation: $*"; exit 2; }

mapfile -t tests < <(printf '%s\n' "${chosen[@]}" | cut -f3 | sort -u)
boot 0 "${tests[@]}" > "$work/0" 2>&1
number=1
if [ "$(tail -n 1 "$work/0")" = 0 ] && ! grep -qE "^1\.\.0\$|# SKIP" "$work/0"; then
        echo "ok 1 - without a fault all ${#tests[@]} tests pass"
else
        sed 's/^/# /' "$work/0"
        echo "not ok 1 - without a fault all ${#tests[@]} tests pass"
fi

for line in "${chosen[@]}"; do
        IFS=$'\t' read -r n name test <<< "$line"
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
        boot "$n" "$test" > "$work/$name" 2>&1 &
done
wait

noticed=0
for line in "${chosen[@]}"; do
        IFS=$'\t' read -r n name test <<< "$line"
        number=$((number + 1))
        what=$(judge "$work/$name")
        if [[ $what == noticed:* ]]; then
                noticed=$((noticed + 1))
                echo "ok $number - $name, $test: ${what#noticed: }"
        else
                tail -n 40 "$work/$name" | sed 's/^/# /'
                echo "not ok $number - $name, $test: $what"
        fi
done
echo "# $noticed of ${#chosen[@]} faults are noticed"
# A fault that no emulated CPU can show must be one that the model finds.
while IFS=$'\t' read -r name model why; do
        [ $# = 0 ] || continue
        number=$((number + 1))
        if [ "$model" = debug ] || grep -q "\"$model\"" "$root/tests/kernel/model/scenarios.c"; then
                echo "ok $number - $name: $model, $why"
        else
                echo "not ok $number - $name: the model has no mutation $model"
        fi
done < <("$here/apply.py" models)
echo "1..$number"
