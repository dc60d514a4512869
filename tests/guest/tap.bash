# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What these scripts have in common: test points, expected errors, and waiting. In the guest it is in a folder below
# tests/tap.bash, as here.
# shellcheck disable=SC2034

# shellcheck source=tests/tap.bash
. "${BASH_SOURCE[0]%/*}/../tap.bash"
out=$(mktemp -d)
tap_log=$out/log

is() { # is EXPECTED COMMAND...: the command prints that, by its hundredth try; they are a tenth of a second apart
        local wanted=$1 _ value
        shift
        for _ in $(seq 100); do
                value=$("$@" 2>&1)
                [ "$value" = "$wanted" ] && return
                sleep 0.1
        done
        echo "$*: '$value', not '$wanted', in 100 tries"
        return 1
}

refused() { # refused TEXT COMMAND...: the command fails, with this text in its output
        local text=$1 said
        shift
        if said=$("$@" 2>&1); then
                echo "no error: $said"
                return 1
        fi
        echo "$said"
        [[ $said == *"$text"* ]]
}

needs_mshare() { [ "$MSHARE_PATCHED" = yes ] || skip_all 'the kernel has no mshare'; }
needs_program() { [ -x "$1" ] || skip_all "$1 is not installed"; } # of the project's own tests
