# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Test points in TAP; sourced. The script sets $tap_log, the file for the output of a
# command. At its end it prints its plan from $count and exits with $failed.
# shellcheck disable=SC2034,SC2154,SC2317

count=0
failed=0

# check DESCRIPTION COMMAND...: a test point. If the command fails, its output is shown.
check() {
        local what=$1
        shift
        count=$((count + 1))
        if "$@" >"$tap_log" 2>&1; then
                echo "ok $count - $what"
        else
                echo "not ok $count - $what"
                failed=1
                tail -n 100 "$tap_log" | sed 's/^/# /'
                on_failure
        fi
}
on_failure() { :; } # for scripts that have more to show

# skip DESCRIPTION WHY: a test point that cannot be tested here.
skip() {
        count=$((count + 1))
        echo "ok $count - $1 # SKIP $2"
}

# skip_all WHY: end the script without test points.
skip_all() {
        echo "1..0 # SKIP $1"
        exit 0
}
