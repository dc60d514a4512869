#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# An unmodified PostgreSQL in a region, set up as mshare-postgresql(7) says. IO_METHOD
# in the environment is the setting of that name, from version 18 on.
# limit: 2400
# memory: 3072
# shellcheck disable=SC2012,SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

on_failure() {
        [ -z "${cluster:-}" ] || tail -n 20 "/var/log/postgresql/postgresql-$version-main.log" 2> /dev/null |
                sed 's/^/# log: /'
}

needs_mshare
version=$(basename "$(ls -d /usr/lib/postgresql/* | sort -V | tail -n 1)")
etc=/etc/postgresql/$version/main
unit=postgresql@$version-main.service
bin=/usr/lib/postgresql/$version/bin

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
query() { as_postgres psql -XAtqc "$1"; }
answers() { [ "$(query 'SELECT 1')" = 1 ]; }
postmaster() { as_postgres head -n 1 "/var/lib/postgresql/$version/main/postmaster.pid"; }
stat_of() { msharectl status pgdata --json=short | python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
more_than() { # more_than PROPERTY VALUE
        local value
        value=$(stat_of "$1")
        echo "$1 is $value"
        [ "$value" -gt "$2" ]
}
# measure NAME: 50 connections, each of which reads all of the large table; sets KB_NAME and FAULTS_NAME, page
# tables and minor faults for each of them.
measure() {
        query 'CREATE EXTENSION IF NOT EXISTS pg_prewarm; SELECT pg_prewarm('"'wide'"')'
        (cd / && python3 - 50) << 'PY' > "$out/$1"
import os, pwd, sys, psycopg2

def page_tables():
    with open("/proc/meminfo") as f:
        return [int(line.split()[1]) for line in f if line.startswith("PageTables:")][0]

number = int(sys.argv[1])
os.setgid(pwd.getpwnam("postgres").pw_gid)
os.setuid(pwd.getpwnam("postgres").pw_uid)
before, faults, connections = page_tables(), [], []
for _ in range(number):
    c = psycopg2.connect(dbname="postgres")
    c.autocommit = True
    cursor = c.cursor()
    cursor.execute("SET max_parallel_workers_per_gather = 0")
    cursor.execute("SELECT count(*) FROM wide")
    assert cursor.fetchone()[0] == 25600
    with open(f"/proc/{c.get_backend_pid()}/stat") as f:
        faults.append(int(f.read().rsplit(")")[1].split()[7]))
    connections.append(c)
print((page_tables() - before) // number, sorted(faults)[number // 2])
PY
        local kb faults
        read -r kb faults < "$out/$1" || return
        declare -g "KB_$1=$kb" "FAULTS_$1=$faults"
        echo "each: $kb kB of page tables, $faults minor faults"
}
shares() { grep -q '/sys/fs/mshare/pgdata$' "/proc/$1/maps"; }
books_agree() {
        [ "$(query 'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)')" = t ]
}
# The server's messages, wherever its unit writes them.
said() {
        cat "/var/log/postgresql/postgresql-$version-main.log" 2> /dev/null
        journalctl -b -o cat -u "$unit"
}
said_words() { said | grep -F "$1"; }

systemctl enable --now mshared 2> /dev/null
if [ ! -d "$etc" ]; then pg_createcluster "$version" main > /dev/null; fi
cluster=yes
sed -i 's/^#\? *shared_buffers = .*/shared_buffers = 256MB/; s/^#\? *max_connections = .*/max_connections = 150/' "$etc/postgresql.conf"
printf '%s\n' 'huge_pages = try' 'fsync = off' >> "$etc/postgresql.conf"
if [ -n "${IO_METHOD:-}" ]; then echo "io_method = $IO_METHOD" >> "$etc/postgresql.conf"; fi

# Step by step as in the manual page.
need=$(as_postgres "$bin/postgres" -D "$etc" -C shared_memory_size 2> /dev/null)
check 'the server tells how much it needs' [ "${need:-0}" -gt 256 ]
mkdir -p /etc/mshare/regions.d "/etc/systemd/system/$unit.d"
cat > /etc/mshare/regions.d/pgdata.conf << CONF
[Region]
Size=$((need * 11 / 10))M
Mode=0600
User=postgres
Group=postgres
CONF
cat > "/etc/systemd/system/$unit.d/region.conf" << 'CONF'
[Unit]
Requires=mshare-region@pgdata.service
After=mshare-region@pgdata.service

[Service]
ExecStartPost=+/usr/bin/msharectl check $MAINPID pgdata
CONF
cat >> "$etc/environment" << 'CONF'
LD_PRELOAD = 'libmshare-preload.so'
MSHARE_REGION = 'pgdata'
CONF
systemctl daemon-reload

check 'it starts' systemctl start "$unit"
check 'with its region' systemctl is-active mshare-region@pgdata.service
check 'it answers' answers
if [ -n "${IO_METHOD:-}" ]; then check "it reads with $IO_METHOD" is "$IO_METHOD" query 'SHOW io_method'; fi
check 'it said what is in the region' said_words 'libmshare-preload: Placed '
check 'the postmaster shares' shares "$(postmaster)"
check 'one client for the whole server' is 1 stat_of NClients
check 'the processes of the server are sharers' more_than NSharers 4
check 'a database' as_postgres pgbench -i -q -s 1
check 'with a table of 200 MB' query 'CREATE TABLE wide (t text); ALTER TABLE wide ALTER t SET STORAGE PLAIN; INSERT INTO wide SELECT repeat(chr(97), 7000) FROM generate_series(1, 25600); CHECKPOINT'
check 'many connections' as_postgres pgbench -n -c 50 -j 2 -t 10
check 'the books agree' books_agree
check '50 connections read it all' measure region

times_ready() { said_words 'database system is ready to accept connections' | wc -l; }
ready=$(times_ready)
check 'a backend is killed' bash -c '
        cd /; s() { setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtqc "$1"; }
        s "SELECT pg_sleep(60)" > /dev/null 2>&1 &
        for _ in $(seq 50); do
                victim=$(s "SELECT pid FROM pg_stat_activity WHERE query = '"'SELECT pg_sleep(60)'"'")
                [ -n "$victim" ] && break
                sleep 0.1
        done
        kill -9 $victim'
before=$(postmaster)
recovered() {
        local _
        for _ in $(seq 150); do
                answers 2> /dev/null && return
                sleep 0.2
        done
        return 1
}
# After a process was killed, the server still answers for a moment, until it notices.
recovers() {
        local _
        for _ in $(seq 600); do
                if [ "$(times_ready)" -gt "$ready" ]; then
                        recovered
                        return
                fi
                sleep 0.2
        done
        echo 'it was not ready once more'
        return 1
}
check 'the server recovers' recovers
check 'as the same postmaster' [ "$(postmaster)" = "$before" ]
check 'in the region' shares "$(postmaster)"
check 'with one client' is 1 stat_of NClients
check 'and the records agree' books_agree

check 'the broker restarts' systemctl restart mshared
check 'the server goes on' answers
check 'and is known' is 1 stat_of NClients
kill -9 "$(systemctl show -P MainPID mshared)"
ready=$(times_ready)
check 'the broker is killed, and a backend after it' bash -c 'cd /; kill -9 $(setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtqc "SELECT pid FROM pg_stat_activity WHERE backend_type = '"'walwriter'"'")'
check 'the server recovers from that' recovers
check 'in the region' shares "$(postmaster)"
check 'the books agree' books_agree

check 'restart of the server' systemctl restart "$unit"
check 'in the region' shares "$(postmaster)"
check 'it reads from the disk what was written' is t query "SELECT count(*) = 25600 AND bool_and(t = repeat('a', 7000)) FROM wide"
check 'the books agree' books_agree

check 'kill -9 of the postmaster' kill -9 "$(postmaster)"
check 'leaves no client' is 0 stat_of NClients
check 'nor sharer' is 0 stat_of NSharers
systemctl reset-failed "$unit" 2> /dev/null
check 'start after that' systemctl restart "$unit"
check 'recovered' recovered
check 'the books agree' books_agree

check 'stopping the region stops the server' systemctl stop mshare-region@pgdata.service
check 'it is stopped' bash -c "! systemctl is-active $unit"
check 'and leaves no region' bash -c '[ -z "$(ls /sys/fs/mshare)" ]'

mkdir -p /etc/systemd/system/mshare-region@pgdata.service.d
printf '[Unit]\nStopWhenUnneeded=yes\n' > /etc/systemd/system/mshare-region@pgdata.service.d/unneeded.conf
systemctl daemon-reload
check 'it starts again, region and all' systemctl start "$unit"
check 'it shares' shares "$(postmaster)"
check 'stopping the server stops a region that no unit needs' systemctl stop "$unit"
gone() {
        local _
        for _ in $(seq 100); do
                [ -z "$(ls /sys/fs/mshare)" ] && return
                sleep 0.1
        done
        return 1
}
check 'which is gone then' gone

# fails WORDS: the server does not start, and its log contains these words.
fails() {
        rm -f /var/log/postgresql/*.log
        systemctl start "$unit"
        ! as_postgres psql -XAtqc 'SELECT 1' 2> /dev/null && said_words "$1"
        local r=$?
        systemctl stop "$unit" mshare-region@pgdata.service
        return $r
}
sed -i 's/^Size=.*/Size=64M/' /etc/mshare/regions.d/pgdata.conf
check 'too small a region' fails "libmshare-preload: Cannot use region 'pgdata': it has 67108864 bytes, and the server needs"
sed -i "s/^Size=.*/Size=$((need * 11 / 10))M/; s/^User=.*/User=root/" /etc/mshare/regions.d/pgdata.conf
check "another user's region" fails "libmshare-preload: Cannot acquire region 'pgdata'"
sed -i "s/^MSHARE_REGION.*/MSHARE_REGION = 'wrong'/" "$etc/environment"
check 'a wrong name' fails "There is no region 'wrong'"
echo "MSHARE_FALLBACK = 'yes'" >> "$etc/environment"
check 'a wrong name, it may go on, but must not' fails 'does not have its shared memory in region pgdata'
sed -i '/^ExecStartPost/d' "/etc/systemd/system/$unit.d/region.conf"
systemctl daemon-reload
rm -f /var/log/postgresql/*.log
check 'a wrong name, and it may go on' systemctl start "$unit"
check 'it does' recovered
check 'saying so' said_words 'continuing with memory of its own'
check 'unshared' bash -c "! grep -q /sys/fs/mshare /proc/$(postmaster)/maps"
check 'the books agree' books_agree
check '50 connections read it all, unshared' measure plain
echo "# page tables for each connection: ${KB_plain:-?} kB plain, ${KB_region:-?} kB in the region"
echo "# minor faults of each connection: ${FAULTS_plain:-?} plain, ${FAULTS_region:-?} in the region"
# 8 bytes for each 4 KiB of 200 MB, and a fault for at least every 16 pages of it.
check 'a region saves each connection the page tables of the table' [ $((${KB_plain:-0} - ${KB_region:-0})) -ge 380 ]
check 'and the faults' [ $((${FAULTS_plain:-0} - ${FAULTS_region:-0})) -ge 2500 ]
systemctl stop "$unit"

echo "1..$count"
