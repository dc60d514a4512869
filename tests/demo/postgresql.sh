# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian's PostgreSQL in the guest, plain and in a region; sourced by the
# demonstration and by the benchmarks. Set-up as mshare-postgresql(7) says.

# shellcheck disable=SC2034 # used by those who source this
version=$(basename "$(printf '%s\n' /usr/lib/postgresql/* | sort -V | tail -n 1)")
unit=postgresql@$version-main.service
etc=/etc/postgresql/$version/main
examples=/usr/share/doc/mshare/examples

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
query() { as_postgres psql -XAtqc "$1"; }

# server_configure SHARED-BUFFERS CONNECTIONS HUGE-PAGES: settings that differ from Debian's defaults, the same in all
# runs, so that runs can be compared.
server_configure() {
        [ -d "$etc" ] || pg_createcluster "$version" main > /dev/null || return
        cat > "$etc/conf.d/mshare.conf" << CONF
shared_buffers = $1
max_connections = $2
huge_pages = $3
# The guest is thrown away, so nothing must survive a power failure.
fsync = off
full_page_writes = off
synchronous_commit = off
max_wal_size = 4GB
# Each connection reads everything, without help of others.
max_parallel_workers_per_gather = 0
synchronize_seqscans = off
autovacuum = off
jit = off
CONF
}

# The answer is in MiB, from a server that is stopped.
server_needs() { as_postgres "/usr/lib/postgresql/$version/bin/postgres" -D "$etc" -C shared_memory_size 2> /dev/null; }

# server_fill SCALE: pgbench's table with few rows per page, so that it is large and quick to read. A scale of 1 fills
# 128 MiB.
server_fill() {
        as_postgres pgbench -i -q -s "$1" -F 10 --unlogged-tables > /dev/null 2>&1 &&
                query 'CREATE EXTENSION IF NOT EXISTS pg_prewarm; CREATE EXTENSION IF NOT EXISTS pg_buffercache'
}

# Read everything into the shared buffers, as in a server that has run for a while.
server_warm() {
        query "SELECT pg_prewarm('pgbench_accounts'); SELECT pg_prewarm('pgbench_accounts_pkey')" > /dev/null
}

# Bytes of the table that are in the shared buffers.
server_resident() {
        query "SELECT count(*) * 8192 FROM pg_buffercache WHERE relfilenode = pg_relation_filenode('pgbench_accounts')"
}

# server_join NEED [KEY=VALUE]: the region's file, with that line, the drop-in and the environment, NEED in MiB.
server_join() {
        mkdir -p "/etc/systemd/system/$unit.d" &&
                sed "s/^Size=.*/Size=$(($1 * 11 / 10))M/" "$examples/pgdata.conf" > /etc/mshare/regions.d/pgdata.conf &&
                echo "${2:-}" >> /etc/mshare/regions.d/pgdata.conf &&
                cp "$examples/postgresql-mshare.conf" "/etc/systemd/system/$unit.d/mshare.conf" &&
                cp "$examples/postgresql-environment" "$etc/environment" &&
                systemctl daemon-reload
}

server_part() {
        rm -rf "/etc/systemd/system/$unit.d" "$etc/environment" /etc/mshare/regions.d/pgdata.conf
        systemctl daemon-reload
}
