#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# here.sh: PostgreSQL on this machine, plain, with huge pages and in a region, side by side.
# For ./run bench --here; as root, on a machine that runs the patched kernel and mshared. A
# server of its own, with a cluster in a new folder, is started and stopped for each; no
# other cluster is touched. Prints a record for each kind and profile.
#
# Environment variables, with their defaults:
#   MSHARE_BENCH_CLIENTS   connections, a list ("100 1000")
#   MSHARE_BENCH_SECONDS   for how long they work (60)
#   MSHARE_BENCH_BUFFERS   shared_buffers in MiB (a quarter of the memory)
#   MSHARE_BENCH_SCALE     of pgbench (so many that its tables fill half of the buffers)
#   MSHARE_BENCH_FOLDER    where the cluster goes (/var/tmp)
#   MSHARE_BENCH_POSTGRESQL  where postgres and pgbench are (the newest in /usr/lib/postgresql)
set -euo pipefail

die() {
        echo "here.sh: $*" >&2
        exit 1
}

number() { # number NAME VALUE: dies unless it is one.
        [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1 is '$2', expected a whole number of at least 1"
}

kb() { awk -v key="$1:" '$1 == key { print $2 }' /proc/meminfo; }

seconds=${MSHARE_BENCH_SECONDS:-60}
buffers=${MSHARE_BENCH_BUFFERS:-$(($(kb MemTotal) / 4096))}
# A scale of 1 is 15 MiB of tables and indexes.
scale=${MSHARE_BENCH_SCALE:-$((buffers / 30 + 1))}
read -ra clients <<< "${MSHARE_BENCH_CLIENTS:-100 1000}"
bin=${MSHARE_BENCH_POSTGRESQL:-$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
number MSHARE_BENCH_SECONDS "$seconds"
number MSHARE_BENCH_BUFFERS "$buffers"
number MSHARE_BENCH_SCALE "$scale"
most=0
for count in "${clients[@]}"; do
        number MSHARE_BENCH_CLIENTS "$count"
        [ "$count" -le "$most" ] || most=$count
done
[ "$most" -gt 0 ] || die "MSHARE_BENCH_CLIENTS is '${MSHARE_BENCH_CLIENTS-}', and has to name at least one number"

[ "$(id -u)" = 0 ] || die 'this has to run as root: it reserves huge pages, sets shmem_enabled and makes a region'
[ -e /proc/sys/vm/mshare_size ] || die "the kernel of this machine, $(uname -r), has no mshare"
for program in postgres initdb psql pgbench; do [ -x "$bin/$program" ] || die "there is no $program in $bin"; done
command -v msharectl > /dev/null || die 'msharectl is not installed'
msharectl status > /dev/null || die 'mshared does not answer'
id postgres > /dev/null 2>&1 || die 'there is no user postgres'

folder=$(mktemp -d -p "${MSHARE_BENCH_FOLDER:-/var/tmp}" mshare-bench.XXXXXX)
region=bench-$$
reserved=$(< /proc/sys/vm/nr_hugepages)
# The word in brackets is the one that holds. With "always" or "within_size", plain memory would have huge pages.
shmem=/sys/kernel/mm/transparent_hugepage/shmem_enabled
transparent=$(sed 's/.*\[\(.*\)\].*/\1/' $shmem)
server=

stop() {
        if [ -n "$server" ]; then
                # Fast shutdown.
                kill -INT "$server" 2> /dev/null || true
                wait "$server" || true
                server=
        fi
}

clean() {
        stop
        msharectl remove $region > /dev/null 2>&1 || true
        echo "$reserved" > /proc/sys/vm/nr_hugepages
        echo "$transparent" > $shmem
        rm -rf "$folder"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

as_postgres() { (cd "$folder" && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
query() { as_postgres "$bin/psql" -XAtq -h "$folder" -d postgres -c "$1"; }

# start HUGE-PAGES PREFIX...
start() {
        local huge=$1
        shift
        (
                cd "$folder"
                exec setpriv --reuid=postgres --regid=postgres --init-groups "$@" \
                        "$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -c huge_pages="$huge"
        ) >> "$folder/log" 2>&1 &
        server=$!
        for _ in $(seq 600); do
                if query 'SELECT 1' > /dev/null 2>&1; then return; fi
                kill -0 $server 2> /dev/null || break
                sleep 0.2
        done
        tail -n 20 "$folder/log" >&2
        die 'the server does not start'
}

faults() { awk '$1 == "pgfault" { print $2 }' /proc/vmstat; }

# measure KIND: each profile with each number of clients.
measure() {
        local kind=$1 profile count switches before sum tables most log=$folder/pgbench.log
        query "SELECT pg_prewarm('pgbench_accounts'), pg_prewarm('pgbench_accounts_pkey')" > /dev/null
        for profile in select simple-update; do
                case $profile in
                select) switches=(-S) ;;
                simple-update) switches=(-N) ;;
                esac
                for count in "${clients[@]}"; do
                        echo "here.sh: $kind, $profile, $count clients" >&2
                        before=$(kb PageTables)
                        sum=$(faults)
                        as_postgres "$bin/pgbench" -h "$folder" -n -M prepared "${switches[@]}" -c "$count" \
                                -j "$(($(nproc) < count ? $(nproc) : count))" -T "$seconds" postgres > "$log" 2>&1 &
                        most=0
                        while kill -0 $! 2> /dev/null; do
                                tables=$(($(kb PageTables) - before))
                                [ $tables -le $most ] || most=$tables
                                sleep 0.5
                        done
                        wait $! || {
                                tail -n 5 "$log" >&2
                                die "pgbench has failed: $kind, $profile, $count clients"
                        }
                        sum=$(($(faults) - sum))
                        awk -v start="kind=$kind profile=$profile clients=$count seconds=$seconds buffers_mib=$buffers table_bytes=$((most * 1024)) faults=$sum" '
                                /^tps = / { tps = $3 }
                                /^initial connection time = / { connect = $5 }
                                /^latency average = / { latency = $4 }
                                END { print start, "tps=" tps, "connect_ms=" connect, "latency_ms=" latency }' "$log"
                done
        done
}

echo never > $shmem
chown postgres: "$folder"
as_postgres "$bin/initdb" -D "$folder/data" -A trust --no-sync > "$folder/log" 2>&1 || die "initdb: $(tail -n 3 "$folder/log")"
cat >> "$folder/data/postgresql.conf" << CONF
shared_buffers = ${buffers}MB
max_connections = $((most + 20))
# The same for all kinds. Nothing here need survive a crash.
fsync = off
synchronous_commit = off
autovacuum = off
max_wal_size = 16GB
max_files_per_process = 100
CONF
need=$(as_postgres "$bin/postgres" -D "$folder/data" -C shared_memory_size 2> /dev/null)

start off
as_postgres "$bin/pgbench" -h "$folder" -i -q -s "$scale" --unlogged-tables postgres > "$folder/pgbench.log" 2>&1 ||
        die "pgbench -i: $(tail -n 3 "$folder/pgbench.log")"
query 'CREATE EXTENSION pg_prewarm; CHECKPOINT'
stop

start off
measure plain
stop

echo $((reserved + need / 2 + 10)) > /proc/sys/vm/nr_hugepages
if [ "$(< /proc/sys/vm/nr_hugepages)" -ge $((reserved + need / 2 + 10)) ]; then
        start on
        measure huge
        stop
else
        echo "here.sh: the kernel cannot reserve $need MiB of huge pages: that kind is left out" >&2
fi
echo "$reserved" > /proc/sys/vm/nr_hugepages

msharectl create $region "$((need * 11 / 10 + 16))M" --mode=0600 --owner=postgres:postgres > /dev/null
start off msharectl run $region --
[ "$(msharectl show -p NSharers --value $region)" -gt 0 ] || die 'the server is not in its region'
measure region
stop
