#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# postgres-tables.sh CONNECTIONS BUFFERS SCALE PERCENT KIND..., in the systemd guest: page tables
# of PostgreSQL against connections, with BUFFERS MiB of shared buffers and a table of
# SCALE times 128 MiB. Each connection reads PERCENT of the table's pages, and all read the
# same ones. KIND: plain, huge (hugetlb pages), region, or region-thp (a region
# with transparent huge pages). Prints one line of JSON for each: {"kind": ...,
# "version": ..., what load.py has}.
set -eu
# shellcheck source=tests/demo/postgresql.sh
. "$(dirname "$0")/postgresql.sh"

here=$(cd "$(dirname "$0")" && pwd)
connections=$1 buffers=$2 scale=$3 percent=$4
shift 4
# Every tenth connection and the first ones; of many connections, every hundredth.
step=$((connections > 500 ? 100 : 10))
steps=1,2,5,$(seq -s , $step $step "$connections")
what=()
if [ "$percent" != 100 ]; then
        what=(--query "SELECT count(*), sum(abalance) FROM pgbench_accounts TABLESAMPLE SYSTEM ($percent) REPEATABLE (1)")
fi
# A file for each connection, in the program that holds them all.
ulimit -n 8192

measure() { # measure KIND ARGS...
        local kind=$1 table
        shift
        server_warm
        if [ "$kind" = region-thp ] && [ "$(awk '$1 == "ShmemHugePages:" { print $2 }' /proc/meminfo)" = 0 ]; then
                echo 'postgres-tables.sh: the region has no huge page' >&2
                return 1
        fi
        table=$(($(server_resident) >> 20))
        echo "$kind: $table MiB of the table are in the shared buffers" >&2
        as_postgres python3 "$here/load.py" "$connections" --steps "$steps" "${what[@]}" "$@" |
                sed "s/^{/{\"kind\": \"$kind\", \"version\": $version, \"buffers_mib\": $buffers, \"table_mib\": $table, \"percent\": $percent, /"
}

configure() { server_configure "${buffers}MB" $((connections + 20)) "$1"; }

systemctl enable --now mshared 2> /dev/null
configure off
need=$(server_needs)
systemctl start "$unit"
server_fill "$scale"
query CHECKPOINT
systemctl stop "$unit"

for kind in "$@"; do
        args=()
        case $kind in
        plain) ;;
        huge)
                configure on
                echo $((need / 2 + 10)) > /proc/sys/vm/nr_hugepages
                ;;
        region)
                server_join "$need"
                args=(--region pgdata)
                ;;
        region-thp)
                echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
                server_join "$need" HugePages=always
                args=(--region pgdata)
                ;;
        *)
                echo "postgres-tables.sh: no such kind: $kind" >&2
                exit 2
                ;;
        esac
        systemctl start "$unit"
        measure "$kind" "${args[@]}"
        systemctl stop "$unit"
        # The next kind's region is another one.
        systemctl stop mshare-region@pgdata.service
        server_part
        if [ "$kind" = huge ]; then
                configure off
                echo 0 > /proc/sys/vm/nr_hugepages
        fi
done
