#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What bash completes for msharectl, and that zsh can read its file: completion.sh BASH-FILE ZSH-FILE
# shellcheck disable=SC2317
set -u

count=0
failed=0
msharectl() { printf '%s\n' 'pgdata 512G ready' 'other 512G ready'; }
compopt() { :; }
# shellcheck source=/dev/null
. "$1"

# completes ANSWER WORD...: with the cursor at the end of the last word
completes() {
        local want=$1
        shift
        COMP_WORDS=(msharectl "$@")
        COMP_CWORD=$#
        _msharectl
        count=$((count + 1))
        if [ "${COMPREPLY[*]-}" = "$want" ]; then
                echo "ok $count - msharectl $*"
        else
                echo "not ok $count - msharectl $*"
                echo "# ${COMPREPLY[*]-}"
                failed=1
        fi
}

completes 'list status show top create resize remove chmod chown clients maps check metrics monitor run help' ''
completes 'status' sta
completes 'show' help sh
completes 'saved' list --sort = sa
completes 'pgdata other' status ''
completes 'pgdata other' status pgdata ''
completes 'pretty' --json = p
completes 'status' --json = short sta
completes '--backing=' create x 5M --ba
completes 'anonymous memfd hugetlb file empty' create x 5M --backing =
completes 'while-leased' create x 5M --lifetime = w
completes '--force' remove --f
completes '--force' resize x --f
completes '--populate' resize x 5M --p
completes 'pgdata' resize pg
completes '' resize pgdata ''
completes '--maximum=' create x 5M --max
completes '' status --f
completes 'status' -H other sta
completes '--host=' list --ho
completes 'pgdata' chmod 0600 p
completes 'root' chown roo
completes 'other' chown root o
completes 'pgdata other' run ''
completes '--' run pgdata ''
completes '--fallback=' run pgdata --fa
completes '' clients pgdata ''
completes '--sharers' clients pgdata --s
completes 'pgdata' maps pg
completes '' maps pgdata pg
completes 'pgdata other' check postgresql ''
completes '' check postgresql pgdata ''
completes '--wait=' check --w
completes '' create ''

# The shell must not execute names of regions, which other users chose.
hostile=$(mktemp -d)
trap 'rm -rf "$hostile"' EXIT
msharectl() {
        printf '%s\n' "\$(>$hostile/run) 512G ready" "\`>$hostile/run\` 512G ready" "x\${HOME}x 512G ready" \
                'a\x0ab 512G ready' "'q 512G ready" '"q 512G ready' '~ 512G ready' '* 512G ready' '--force 512G ready' \
                'a+b-c.d_e:f@1 512G ready'
}
for verb in status remove monitor clients run; do completes 'a+b-c.d_e:f@1' $verb ''; done
completes 'a+b-c.d_e:f@1' chmod 0600 ''
completes 'a+b-c.d_e:f@1' chown root ''
count=$((count + 1))
if [ -z "$(ls -A "$hostile")" ]; then
        echo "ok $count - names of regions are not executed"
else
        echo "not ok $count - names of regions are not executed"
        failed=1
fi

count=$((count + 1))
if ! command -v zsh >/dev/null; then
        echo "ok $count - zsh reads its file # SKIP zsh is not installed"
elif zsh -n "$2"; then
        echo "ok $count - zsh reads its file"
else
        echo "not ok $count - zsh reads its file"
        failed=1
fi
echo "1..$count"
exit $failed
