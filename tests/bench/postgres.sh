#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# postgres.sh CONNECTIONS, in the systemd guest: page tables of PostgreSQL against
# connections, plain, with huge pages, in a region, and in a region with
# transparent huge pages. Prints one line of JSON for each: {"kind": ...,
# "version": ..., what load.py has}.
set -eu
# shellcheck source=tests/demo/server.sh
. "$(dirname "$0")/server.sh"

here=$(cd "$(dirname "$0")" && pwd)
connections=$1
# Every tenth connection and the first ones.
steps=1,2,5,$(seq -s , 10 10 "$connections")

measure() { # measure KIND ARGS...
        local kind=$1
        shift
        server_warm
        echo "$kind: $(($(server_resident) >> 20)) MiB of the table are in the shared buffers" >&2
        as_postgres python3 "$here/load.py" "$connections" --steps "$steps" "$@" | sed "s/^{/{\"kind\": \"$kind\", \"version\": $version, /"
}

systemctl enable --now mshared 2> /dev/null
server_configure 384MB $((connections + 20)) off
need=$(server_needs)
systemctl start "$unit"
server_fill 2
query CHECKPOINT
systemctl restart "$unit"
measure plain
systemctl stop "$unit"

server_configure 384MB $((connections + 20)) on
echo $((need / 2 + 10)) > /proc/sys/vm/nr_hugepages
systemctl start "$unit"
measure huge
systemctl stop "$unit"
echo 0 > /proc/sys/vm/nr_hugepages

server_configure 384MB $((connections + 20)) off
server_join "$need"
systemctl start "$unit"
measure region --region pgdata
systemctl stop "$unit"

echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled
server_join "$need" HugePages=always
systemctl start "$unit"
measure region-thp --region pgdata
systemctl stop "$unit"
