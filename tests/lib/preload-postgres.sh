#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The preload library under the real PostgreSQL, with the fake broker and kernel:
#   preload-postgres.sh MSHARECTL PRELOAD FAKE-KERNEL
# It checks that the server works as usual. How much is saved is measured in the guest.
# shellcheck disable=SC2012,SC2016,SC2317
set -u

ctl=$1 preload=$2 fake_kernel=$3

# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -x "${bin:-}/postgres" ] || skip_all 'PostgreSQL is not installed (package postgresql)'
[ "$(id -u)" != 0 ] || skip_all 'PostgreSQL does not run as root'

# Under 107 bytes, as names of sockets must be.
work=$(mktemp -d "${TMPDIR:-/tmp}/pg.XXXXXX")
data=$work/data log=$work/log tap_log=$work/out
export PGHOST=$work PGDATABASE=postgres PGUSER=postgres

cleanup() {
        "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1
        rm -rf "$work"
}
trap cleanup EXIT

on_failure() { tail -n 15 "$log" "$data"/log/* | sed 's/^/# log: /'; }

# The server, as the settings in the environment say.
start() {
        rm -f "$log"
        LD_PRELOAD=$fake_kernel:$preload "$bin/pg_ctl" -D "$data" -l "$log" -w -t 60 start "$@"
}
stop() { "$bin/pg_ctl" -D "$data" -m "${1:-fast}" -w stop; }
query() { "$bin/psql" -XAtqc "$1"; }
answers() { [ "$(query 'SELECT 1')" = 1 ]; }
postmaster() { head -n 1 "$data/postmaster.pid"; }
# Is the window of that process mapped? The fake kernel maps region NAME from NAME.mem.
shares() { grep -q "/$2\.mem" "/proc/$1/maps"; }
clients() { "$ctl" clients "$1" --no-legend | wc -l; }
no_clients() {
        for _ in $(seq 50); do
                [ "$(clients "$1")" = 0 ] && return
                sleep 0.1
        done
        "$ctl" clients "$1"
        return 1
}

check 'initdb, preloaded' env MSHARE_REGION=pgdata MSHARE_FALLBACK=yes LD_PRELOAD="$fake_kernel:$preload" \
        "$bin/initdb" -D "$data" -U postgres -A trust --no-sync --no-instructions
cat >>"$data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
shared_buffers = 128MB
huge_pages = try
max_connections = 50
logging_collector = on
fsync = off
CONF

"$ctl" create -q pgdata 256M
export MSHARE_REGION=pgdata
check 'it starts in the region' start
check 'it answers' answers
check 'the postmaster shares' shares "$(postmaster)" pgdata
check 'a backend shares from birth' bash -c '
        exec 8> >('"$bin"'/psql -XAtq >/dev/null)
        echo "SELECT pg_sleep(5);" >&8; sleep 0.7
        pid=$('"$bin"'/psql -XAtqc "SELECT pid FROM pg_stat_activity WHERE query LIKE '"'SELECT pg_sleep%'"' LIMIT 1")
        echo "backend $pid"; grep -q "/pgdata\.mem" "/proc/$pid/maps"'
logger=$(pgrep -P "$(postmaster)" -f logger)
check 'the logger, which wants none of it, has none of it' bash -c "kill -0 $logger && ! grep -q '/pgdata\.mem' /proc/$logger/maps"
check 'and there is still all of it' answers
check 'one lease for the whole server' test "$(clients pgdata)" = 1
check 'a database with contents' "$bin/pgbench" -i -q -s 2
check 'many connections' "$bin/pgbench" -n -c 20 -j 2 -T 3
check 'the accounts agree with the history' \
        test "$(query 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)')" = t

before=$(postmaster)
check 'kill -9 of a backend' bash -c "
        $bin/psql -XAtqc 'SELECT pg_sleep(30)' >/dev/null 2>&1 & sleep 0.7
        kill -9 \$($bin/psql -XAtqc \"SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)'\"); wait; true"
recovered() {
        for _ in $(seq 100); do
                answers 2>/dev/null && return
                sleep 0.2
        done
        return 1
}
check 'the server recovers' recovered
check 'it is the same postmaster' test "$(postmaster)" = "$before"
check 'its new memory is in the region' shares "$(postmaster)" pgdata
check 'the accounts still agree' \
        test "$(query 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)')" = t
check 'work goes on' "$bin/pgbench" -n -c 5 -t 20

check 'fast stop' stop
check 'no client is left' no_clients pgdata
check 'it starts again' start
check 'and shares' shares "$(postmaster)" pgdata

dead=$(postmaster)
kill -9 "$dead"
check 'kill -9 of the postmaster leaves no client' no_clients pgdata
# Where no init reaps it, the dead postmaster looks alive to the next one.
for _ in $(seq 100); do
        state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$dead/status" 2>/dev/null)
        case $state in
        '') break ;;
        Z) rm -f "$data/postmaster.pid" "$work"/.s.PGSQL.*.lock; break ;;
        esac
        sleep 0.1
done
check 'it starts again after that' start
check 'and the accounts agree' \
        test "$(query 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)')" = t
check 'immediate stop' stop immediate

# said FIXED-STRING: the last start said it, on standard error before the logger took over.
said() {
        cat "$log"
        grep -qF "$1" "$log"
}
"$ctl" create -q tiny 64M
export MSHARE_REGION=tiny
check 'too small a region stops it' bash -c "! LD_PRELOAD='$fake_kernel:$preload' '$bin/pg_ctl' -D '$data' -l '$log' -w start"
check 'with a sentence' said "libmshare-preload: Cannot use region 'tiny': it has 67108864 bytes, and the server needs"
rm -f "$log"
check 'or, if it may, it runs without' env MSHARE_FALLBACK=yes LD_PRELOAD="$fake_kernel:$preload" \
        "$bin/pg_ctl" -D "$data" -l "$log" -w start
check 'saying so' said 'continuing with memory of its own'
check 'it answers then' answers
check 'and shares nothing' bash -c "! grep -q 'tiny\.mem' /proc/$(postmaster)/maps"
check 'stop' stop
export MSHARE_REGION=no-such
check 'a region that is not there stops it' bash -c "! LD_PRELOAD='$fake_kernel:$preload' '$bin/pg_ctl' -D '$data' -l '$log' -w start"
check 'with a sentence' said "Cannot acquire region 'no-such': There is no region \"no-such\""

echo "1..$count"
exit $failed
