# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the scripts in here have in common: their reports, in TAP.

count=0
out=$(mktemp -d)

# check NAME COMMAND...: one test, which passes if the command does; else what it printed is shown.
check() {
        local name=$1
        shift
        count=$((count + 1))
        if "$@" > "$out/log" 2>&1; then
                echo "ok $count - $name"
        else
                echo "not ok $count - $name"
                tail -n 100 "$out/log" | sed 's/^/# /'
                on_failure
        fi
}
on_failure() { :; } # for scripts that have more to show

is() { # is WANTED COMMAND...: that is what it prints, within ten seconds
        local wanted=$1 _ value
        shift
        for _ in $(seq 100); do
                value=$("$@" 2>&1)
                [ "$value" = "$wanted" ] && return
                sleep 0.1
        done
        echo "$*: '$value', not '$wanted'"
        return 1
}

skip() { # skip NAME WHY
        count=$((count + 1))
        echo "ok $count - $1 # SKIP $2"
}

skip_all() { # skip_all WHY: and that is all
        echo "1..0 # SKIP $1"
        exit 0
}
needs_mshare() { [ "$MSHARE_PATCHED" = yes ] || skip_all 'the kernel has no mshare'; }
needs_program() { [ -x "$1" ] || skip_all "$1 is not installed"; } # of the project's own tests
