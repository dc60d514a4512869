# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Checks for tests of msharectl; sourced with the path of msharectl as the first argument.
# shellcheck disable=SC2034,SC2317

# shellcheck source=tests/tap.bash
. "${BASH_SOURCE[0]%/*}/../tap.bash"
ctl=$1
out=$(mktemp -d "${TMPDIR:-/tmp}/msharectl-test.XXXXXX")
tap_log=$out/log
trap 'rm -rf "$out"' EXIT
export LC_ALL=C.UTF-8 TZ=UTC
unset LD_PRELOAD

# run STATUS STDOUT-PATTERN STDERR-PATTERN ARGUMENTS...: msharectl exits with that status, and each output as a whole
# matches an extended regular expression, in which line feeds are spaces.
run() {
        local want=$1 want_out=$2 want_err=$3 status=0 got_out got_err
        shift 3
        "$ctl" "$@" >"$out/stdout" 2>"$out/stderr" </dev/null || status=$?
        got_out=$(tr '\n' ' ' <"$out/stdout")
        got_err=$(tr '\n' ' ' <"$out/stderr")
        printf 'msharectl %s: status %d\nstdout: %s\nstderr: %s\n' "$*" "$status" "$got_out" "$got_err"
        [ "$status" = "$want" ] && [[ $got_out =~ ^($want_out)$ ]] && [[ $got_err =~ ^($want_err)$ ]]
}

# json EXPRESSION ARGUMENTS...: the output is JSON, and the Python expression about it, named d, is true.
json() {
        local expression=$1
        shift
        "$ctl" "$@" >"$out/json" || return
        cat "$out/json"
        python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' \
                "$out/json" "$expression"
}
