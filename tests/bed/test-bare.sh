#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Do ./run demo and ./run test, the commands of README.md, pass on a fresh machine? In minimal roots of both releases, as
# root and as a user who may use sudo. Speaks TAP.
#
#   test-bare.sh [--cold] [RELEASE...]
#
# --cold: without the cache of kernels; hours, on two CPUs.
set -u

bed=$(cd "$(dirname "$0")/../../bed" && pwd)
cold=()
if [ "${1:-}" = --cold ]; then
        cold=(--cold)
        shift
fi
[ $# -gt 0 ] || set -- 12 13
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0

bare() { # bare NAME LAST-LINE SWITCHES... COMMAND...: passes, and says so
        local name=$1 last=$2 rc=0 begin=$SECONDS
        shift 2
        "$bed/bare-root" "${cold[@]}" "$@" > "$work/out" 2> "$work/err" < /dev/null || rc=$?
        count=$((count + 1))
        if [ $rc = 77 ]; then
                echo "ok $count - $name # SKIP $(grep -m 1 'no minimal root' "$work/err")"
                return
        fi
        if [ $rc = 0 ] && tail -n 1 "$work/out" | grep -E "$last" > /dev/null; then
                echo "ok $count - $name"
        else
                echo "not ok $count - $name"
                { tail -n 60 "$work/err"; tail -n 60 "$work/out"; echo "exit status $rc"; } | sed 's/^/# /'
        fi
        echo "# $((SECONDS - begin)) s; its end: $(tail -n 1 "$work/out")"
}

for release in "$@"; do
        bare "Debian $release: run demo as root" '^Verdict: shared\.' --release "$release" ./run demo
        bare "Debian $release: run demo as a user" '^Verdict: shared\.' --release "$release" --user ./run demo
        bare "Debian $release: run test as root" '^[0-9]+ passed, 0 failed, [0-9]+ skipped$' --release "$release" ./run test
        bare "Debian $release: run test --quick as a user" '^[0-9]+ passed, 0 failed, [0-9]+ skipped$' \
                --release "$release" --user ./run test --quick
done
echo "1..$count"
