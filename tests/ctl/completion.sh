#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What bash completes for msharectl, and that zsh can read its own: completion.sh BASH-FILE ZSH-FILE
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

completes 'list status create remove chmod chown clients monitor run' ''
completes 'status' st
completes 'pgdata other' status ''
completes 'pgdata other' status pgdata ''
completes 'pretty' --json = p
completes 'status' --json = short sta
completes '--backing=' create x 5M --ba
completes 'anonymous memfd hugetlb file empty' create x 5M --backing =
completes 'while-leased' create x 5M --lifetime = w
completes '--force' remove --f
completes '' status --f
completes 'pgdata' chmod 0600 p
completes 'root' chown roo
completes 'other' chown root o
completes 'pgdata other' run ''
completes '--' run pgdata ''
completes '--fallback=' run pgdata --fa
completes '' clients pgdata ''
completes '' create ''

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
