#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Unmodified servers with the preload library, and what administrators do to them: PostgreSQL with an archive_command
# that maps shared memory and with System V memory, nginx with two zones, reloads and a binary upgrade, uWSGI with a
# cache, Apache's scoreboard, PHP's opcache, and a server that closes its descriptors.
# limit: 1500
# memory: 3072
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

client=/usr/libexec/mshare/tests/guest-client

needs_mshare
needs_program $client
bin=$(dirname "$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)")
preload=libmshare-preload.so
work=/srv/servers
mkdir -p $work
chmod 1777 $work
cd $work || exit 1

# As for a service of systemd. The test bed's job may have fs.nr_open descriptors, which is 2^30 on Debian 13, and uWSGI
# closes each possible one when it reloads.
ulimit -Sn 1024
ulimit -Hn 524288

on_failure() { tail -n 20 $work/log 2> /dev/null | sed 's/^/# log: /'; }

as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=$work "$@"; }
region() { msharectl create -q "$@"; }
within() { # within SECONDS COMMAND...: the command succeeds within that time
        local end=$((SECONDS + $1))
        shift
        until "$@"; do
                [ $SECONDS -lt $end ] || return 1
                sleep 0.2
        done
}
fails() { ! "$@"; }
shares() { grep -q "/sys/fs/mshare/$2\$" "/proc/$1/maps"; }
plain() { [ -e "/proc/$1/maps" ] && ! grep -q /sys/fs/mshare/ "/proc/$1/maps"; }
all_share() { # all_share REGION PID...
        local pid
        [ $# -gt 1 ] || return 1
        for pid in "${@:2}"; do shares "$pid" "$1" || { echo "process $pid is not in region $1"; return 1; }; done
}
# family_shares REGION PID: this process and its children. Children from before a reload may be about to exit; then look
# again.
family_shares() {
        local children
        mapfile -t children < <(pgrep -P "$2")
        [ ${#children[@]} -gt 0 ] && all_share "$1" "$2" "${children[@]}"
}
sharers() { msharectl status "$1" --json=short | python3 -c 'import json, sys; print(json.load(sys.stdin)["NSharers"])'; }
said() { # said WORDS [FILE]
        cat "${2:-$work/log}"
        grep -qF -- "$1" "${2:-$work/log}"
}
times_said() { # times_said NUMBER WORDS
        cat $work/log
        [ "$(grep -cF -- "$2" $work/log)" = "$1" ]
}
# No zone or cache is outside of a region. Small things like locks and counters may be.
elsewhere() { # elsewhere PID
        python3 - "$1" << 'PY'
import sys
found = [line for line in open(f"/proc/{sys.argv[1]}/maps") if "rw-s" in line and "/dev/zero" in line
         and int(line.split()[0].split("-")[1], 16) - int(line.split("-")[0], 16) >= 1 << 20]
print(*found)
sys.exit(0 if found else 1)
PY
}

systemctl start mshared

# PostgreSQL

export PGHOST=$work PGDATABASE=postgres PGUSER=postgres
query() { as_postgres psql -XAtqc "$1"; }
answers() { [ "$(query 'SELECT 1')" = 1 ]; }
postmaster() { head -n 1 $work/pg/postmaster.pid; }
# Since its start, and after a crash. Until it has noticed the crash, it answers as well.
ready_twice() { [ "$(grep -c 'ready to accept connections' $work/log)" -ge 2 ] && answers; }
setting() { printf '%s\n' "$@" >> $work/pg/postgresql.conf; }
start() { # start [VARIABLE=VALUE...]
        : > $work/log
        chmod 666 $work/log
        as_postgres env LD_PRELOAD=$preload MSHARE_REGION=pg "$@" \
                "$bin/pg_ctl" -D $work/pg -l $work/log -w -t 300 start > $work/start.out 2>&1 < /dev/null
}
stop() { as_postgres "$bin/pg_ctl" -D $work/pg -m fast -w stop; }
needs() { as_postgres "$bin/postgres" -D $work/pg -C shared_memory_size 2> /dev/null; }

sysctl -q -w fs.protected_regular=0
as_postgres "$bin/initdb" -D $work/pg -A trust --no-sync -N > /dev/null
setting "unix_socket_directories = '$work'" "listen_addresses = ''" 'shared_buffers = 129MB' 'fsync = off' \
        'wal_level = replica' 'archive_mode = on' "archive_command = 'python3 $work/archive.py %f'"
cat > archive.py << 'PY'
import mmap, sys, time
begin = time.time()
m = mmap.mmap(-1, 100 << 20)
m[0:4] = b"test"
open("/srv/servers/archived", "w").write("%.1f %s" % (time.time() - begin, "mshare" in open("/proc/self/maps").read()))
PY

check 'a region of exactly the size that the server reports' region pg "$(needs)M" --owner=postgres:postgres
check 'the server starts in it' start
check 'it is in it' shares "$(postmaster)" pg
check 'and has said so, once' times_said 1 libmshare-preload
check 'what was placed' said "of shared memory in region 'pg', from byte 0 of its "
query 'SELECT pg_switch_wal()' > /dev/null
check 'a segment is archived by a command that maps 100 MiB shared' within 120 test -s archived
check 'without the region' [ "$(cut -d' ' -f2 archived)" = False ]
check 'nothing failed' is 0 query 'SELECT failed_count FROM pg_stat_archiver'
query 'CREATE TABLE x (l text)'
check 'COPY FROM PROGRAM, likewise' query "COPY x FROM PROGRAM 'python3 -c \"import mmap; print(len(mmap.mmap(-1, 100 << 20)))\"'"
check 'programs that it starts have nothing of it in their environment' is '' query \
        "TRUNCATE x; COPY x FROM PROGRAM 'env | grep -E \"MSHARE_REGION|libmshare\"; true'; SELECT * FROM x"
with_environment() { as_postgres env LD_PRELOAD=$preload MSHARE_REGION=pg "$@"; }
check 'pg_controldata with the environment' with_environment "$bin/pg_controldata" -D $work/pg
check 'postgres -C with the environment' with_environment "$bin/postgres" -D $work/pg -C shared_buffers
check 'a backend crashes' bash -c 'cd /srv/servers; kill -9 $(setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtqc "SELECT pid FROM pg_stat_activity WHERE backend_type = '"'walwriter'"'")'
check 'the server recovers' within 120 ready_twice
check 'in the region' shares "$(postmaster)" pg
check 'it stops' stop

setting 'huge_pages = on'
check 'huge_pages = on does not start' fails start
check 'and says why' said 'the server requires huge pages of hugetlbfs'
check 'and what to do' said 'set huge_pages=try in PostgreSQL'
setting 'huge_pages = try'

setting 'shared_memory_type = sysv'
check 'System V memory' start
check 'is in the region' shares "$(postmaster)" pg
check 'which it has said' said ', System V segment '
check 'it answers' answers
segment() { awk 'NR == 7 { print $2 }' $work/pg/postmaster.pid; }
attached() { awk -v id="$(segment)" '$2 == id { print $7 }' /proc/sysvipc/shm; }
check 'the kernel counts the processes that have the segment' [ "$(attached)" -ge 5 ]
check 'and has only one page of memory for it' [ "$(awk -v id="$(segment)" '$2 == id { print $15 }' /proc/sysvipc/shm)" -le 4096 ]
# The interlock that keeps a second postmaster off the files, in the region or outside of it.
mv pg/postmaster.pid postmaster.pid
for where in MSHARE_REGION=pg MSHARE_REGION=; do
        as_postgres env LD_PRELOAD=$preload $where "$bin/postgres" -D $work/pg -p 5499 2> second.log
        check "a second server on the same files, with $where, is refused" said 'is still in use' second.log
done
mv postmaster.pid pg/postmaster.pid
check 'the first goes on' answers
check 'a backend crashes' bash -c 'cd /srv/servers; kill -9 $(setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtqc "SELECT pid FROM pg_stat_activity WHERE backend_type = '"'walwriter'"'")'
check 'the server recovers' within 120 ready_twice
check 'in the region' shares "$(postmaster)" pg
check 'kill -9 of the postmaster' kill -9 "$(postmaster)"
check 'leaves no sharer' is 0 sharers pg
check 'and it starts again' start
check 'in the region' shares "$(postmaster)" pg
segment=$(segment)
check 'it stops' stop
check 'and leaves no segment' is '' awk -v id="$segment" '$2 == id' /proc/sysvipc/shm

# A reader of another user stays attached while a server starts.
setting 'shared_memory_type = mmap'
msharectl chmod 0644 pg
mkfifo reader.in
setpriv --reuid=games --regid=games --clear-groups $client < reader.in > reader.out &
reader=$!
exec 6> reader.in
reads() { # reads PATTERN: what the reader finds in the region's first bytes
        echo 'get 0' >&6
        within 20 tail_matches "$1"
}
tail_matches() { tail -n 1 reader.out | LC_ALL=C grep -aEq "$1"; }
as_postgres $client <<< $'acquire pg rw\nput 0 yesterday' > writer.out
check 'old content' grep -q '^ok' writer.out
echo 'acquire pg r' >&6
check 'a reader attaches' within 20 tail_matches '^ok 0x'
check 'and reads it' reads '^ok yesterday$'
check 'the server starts all the same' start
check 'in the region' shares "$(postmaster)" pg
check 'the reader is still attached' shares $reader pg
check 'and the old content is gone' reads '^ok ([^y]|$)'
echo 'try 0' >&6
check 'it cannot write' within 20 tail_matches '^ok signal 11$'
stop > /dev/null
msharectl chmod 0600 pg
check 'if it may not read any more, no server starts' fails start
check 'and the line says how to find it' said 'number of processes that share it: 1 (msharectl clients --sharers pg lists them)'
check 'as this does' bash -c "msharectl clients --sharers pg --no-legend | grep -w $reader"
exec 6>&-
wait $reader
check 'it leaves, and the server starts' start
stop > /dev/null

setting 'shared_buffers = 16MB' 'max_connections = 20' 'shared_memory_type = mmap'
check 'shared_buffers below the threshold' start
check 'are reported' said "Nothing is in region 'pg' so far: the largest shared mapping has "
stop > /dev/null
setting 'shared_buffers = 129MB'
msharectl chown root pg
msharectl chmod 0666 pg
check "root's region serves" start
check 'it' shares "$(postmaster)" pg
stop > /dev/null
msharectl chown games pg
check "a stranger's does not" fails start
check 'and the line says whose it is' said "its owner, user 5, could read the server's data"
msharectl chown root pg
msharectl chmod 0644 pg
check 'nor does a region that it may only read' fails start
msharectl remove pg

# nginx

conf() { # conf DIRECTIVES
        cat > nginx.conf << CONF
daemon on;
pid $work/nginx.pid;
error_log $work/log info;
worker_processes 2;
user www-data;
${top:-}
events { worker_connections 64; }
http {
        access_log off;
        client_body_temp_path $work/n1; proxy_temp_path $work/n2; fastcgi_temp_path $work/n3;
        uwsgi_temp_path $work/n4; scgi_temp_path $work/n5;
        $1
        server {
                listen 8081;
                location / { return 200 "ok"; }
                location /c { proxy_cache one; proxy_pass http://127.0.0.1:8081/; proxy_cache_valid 200 1m; }
        }
}
CONF
}
zone() { echo "proxy_cache_path $work/cache-$1 keys_zone=$1:$2;"; }
nginx_server() { env LD_PRELOAD=$preload MSHARE_REGION=nginx /usr/sbin/nginx -c $work/nginx.conf "$@" 2>> $work/log; }
master() { cat $work/nginx.pid; }
workers() { pgrep -P "$(master)" -f 'nginx: worker process'; }
nginx_shares() {
        local pids
        mapfile -t pids < <(workers)
        all_share nginx "$(master)" "${pids[@]}"
}
served() { [ "$(python3 -c 'import urllib.request as u; print(u.urlopen("http://localhost:8081/c").read().decode())')" = ok ]; }
replaced() { # replaced PIDS: these workers have exited and others are running
        local pid
        for pid in $1; do [ ! -d "/proc/$pid" ] || return 1; done
        [ "$(workers | wc -l)" = 2 ]
}

if [ -x /usr/sbin/nginx ]; then
        : > log
        region nginx 1G
        conf "$(zone one 100m) $(zone two 150m)"
        check 'nginx with two zones' nginx_server
        check 'both are placed' times_said 2 'libmshare-preload: Placed '
        check 'one behind the other' said 'from byte 104857600 of its 1073741824'
        check 'its processes share' within 60 nginx_shares
        check 'and no zone is elsewhere' fails elsewhere "$(master)"
        check 'it serves, with its cache' served
        check 'nginx -t, with its environment, beside it' nginx_server -t
        check 'which says that it only checks' said 'this command only checks'
        check 'and did not disturb it' served
        old=$(workers)
        check 'reload' kill -HUP "$(master)"
        check 'new workers' within 120 replaced "$old"
        check 'share' within 60 nginx_shares
        check 'and serve' served
        : > log
        conf "$(zone one 200m) $(zone two 150m)"
        old=$(workers)
        check 'reload with a larger zone' kill -HUP "$(master)"
        check 'new workers' within 120 replaced "$old"
        check 'it is placed beside the others' said "Placed 209715200 bytes of shared memory in region 'nginx', from byte 262144000 of"
        check 'they share' within 60 nginx_shares
        check 'no zone is elsewhere' fails elsewhere "$(master)"
        check 'they serve' served
        # Binary upgrade: a second master beside the first.
        : > log
        old=$(master)
        check 'binary upgrade' kill -USR2 "$old"
        upgraded() { [ -s nginx.pid.oldbin ] && [ -s nginx.pid ] && [ "$(master)" != "$old" ] && [ "$(workers | wc -l)" = 2 ]; }
        check 'a second master' within 120 upgraded
        check 'whose memory is its own' plain "$(master)"
        check 'which it says' said 'requested the region first; stop and start the server to place them there'
        check 'the first is in the region' shares "$old" nginx
        check 'it leaves' kill -QUIT "$old"
        check 'it is gone' within 120 fails test -d "/proc/$old"
        check 'the second serves' served
        kill -TERM "$(master)"
        within 120 fails test -e nginx.pid
        check 'no sharer is left' is 0 sharers nginx
        # The same when the first server has nothing in the region. nginx passes an environment of its own.
        : > log
        conf "$(zone one 4m)"
        check 'nginx with a zone that is too small' nginx_server
        old=$(master)
        conf "$(zone one 100m)"
        check 'binary upgrade with a larger zone' kill -USR2 "$old"
        check 'a second master' within 120 upgraded
        check 'says that its zone is not in the region' said 'requested the region first; stop and start the server to place them there'
        kill -QUIT "$old"
        within 120 fails test -d "/proc/$old"
        kill -TERM "$(master)"
        within 120 fails test -e nginx.pid
        msharectl remove nginx
else
        skip 'nginx' 'nginx is not installed'
fi

# uWSGI

uwsgi_server() { # uwsgi_server NAME PORT
        setsid env LD_PRELOAD=$preload MSHARE_REGION=uwsgi uwsgi --master --processes 2 --pidfile "$work/$1.pid" \
                --cache2 name=c,items=150000,blocksize=1024 --http-socket "127.0.0.1:$2" >> "$work/$1.log" 2>&1 < /dev/null &
        within 120 grep -qE 'spawned uWSGI worker 2|libmshare-preload: Cannot' "$1.log"
}
if command -v uwsgi > /dev/null; then
        region uwsgi 600M
        check 'uWSGI with a cache' uwsgi_server one 8083
        uwsgi=$(cat one.pid)
        check 'its processes share' within 60 family_shares uwsgi "$uwsgi"
        check 'which it said' said 'libmshare-preload: Placed ' one.log
        : > one.log
        check 'reload: it executes itself' kill -HUP "$uwsgi"
        check 'new workers' within 120 grep -q 'spawned uWSGI worker 2' one.log
        check 'they share' within 60 family_shares uwsgi "$uwsgi"
        check 'which it said again' said 'libmshare-preload: Placed ' one.log
        check 'a second instance in the same region' uwsgi_server two 8084
        check 'is refused' said 'another server, or a process that it left behind, uses it' two.log
        check 'the first is as it was' within 60 family_shares uwsgi "$uwsgi"
        kill -INT "$uwsgi"
        check 'no sharer is left' is 0 sharers uwsgi
        pkill -F two.pid 2> /dev/null
        msharectl remove uwsgi
else
        skip 'uWSGI' 'uwsgi is not installed'
fi

# Apache

if [ -x /usr/sbin/apache2 ]; then
        : > log
        cat > apache.conf << CONF
ServerName localhost
ServerRoot $work
PidFile $work/apache.pid
ErrorLog $work/log
Listen 8085
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
StartServers 2
MaxRequestWorkers 4000
ServerLimit 4000
DocumentRoot $work
CONF
        echo here > page
        region apache 16M
        apache() { env LD_PRELOAD=$preload MSHARE_REGION=apache MSHARE_MIN_SIZE=64K apache2 -f $work/apache.conf "$@" 2>> $work/log; }
        check 'Apache with its scoreboard' apache -k start
        check 'is up' within 120 test -s apache.pid
        httpd=$(cat apache.pid)
        check 'its processes share' within 60 family_shares apache "$httpd"
        for signal in USR1 HUP; do
                : > log
                check "SIG$signal" kill -$signal "$httpd"
                check 'it has begun anew' within 120 grep -q 'resuming normal operations' log
                check 'it and its processes share' within 60 family_shares apache "$httpd"
        done
        check 'it serves' bash -c 'python3 -c "import urllib.request as u; u.urlopen(\"http://localhost:8085/page\").read()"'
        kill -TERM "$httpd"
        check 'no sharer is left' is 0 sharers apache
        msharectl remove apache
else
        skip 'Apache' 'apache2 is not installed'
fi

# PHP: the manual says why opcache is not placed, unless it is large.

fpm=$(printf '%s\n' /usr/sbin/php-fpm[0-9]* | sort -V | tail -n 1)
if [ -x "$fpm" ]; then
        : > log
        cat > fpm.conf << CONF
[global]
pid = $work/fpm.pid
error_log = $work/fpm.log
[www]
user = www-data
group = www-data
listen = $work/fpm.sock
pm = static
pm.max_children = 2
CONF
        region php 300M --owner=root:root
        fpm_server() { env LD_PRELOAD=$preload MSHARE_REGION=php "$fpm" -y $work/fpm.conf -d opcache.enable=1 "$@" >> $work/log 2>&1; }
        # PHP 8.2 loads its modules with RTLD_DEEPBIND, and the library does not see what they map. 8.4 does not, and has
        # 64 MiB more, for compiled code.
        not="bytes of shared memory are not in region 'php':"
        case $fpm in
        *8.2) looks=(fails said libmshare-preload) outside="134217728 $not this library did not see the call that mapped them" ;;
        *) looks=(said 'this command only checks') outside="201326592 $not they are requested at a fixed address (MAP_FIXED)" ;;
        esac
        check 'php-fpm -t, with the environment' fpm_server -t
        check 'which says that it only checks, or maps nothing that the library sees' "${looks[@]}"
        : > log
        check 'php-fpm' fpm_server -d opcache.memory_consumption=128
        check 'is up' within 120 test -s fpm.pid
        php=$(cat fpm.pid)
        check 'with its cache outside of the region' elsewhere "$php"
        check 'which it has said' said "$outside"
        check 'once' times_said 1 libmshare-preload
        workers_of() { [ "$(pgrep -cP "$1")" = 2 ]; }
        check 'its workers run' within 60 workers_of "$php"
        check 'and do not share' is 0 sharers php
        kill -TERM "$php"
        within 60 fails test -d "/proc/$php"
        msharectl remove php

        if [[ $fpm != *8.2 ]]; then
                : > log
                rm -f fpm.pid
                region php 6G --owner=root:root
                fpm_server --nodaemonize -d opcache.memory_consumption=1500 -d opcache.jit_buffer_size=0 &
                check 'php-fpm with a cache for which there is no room below 2 GiB' within 120 test -s fpm.pid
                php=$(cat fpm.pid)
                check 'its processes share' within 60 family_shares php "$php"
                check 'which it said' said 'libmshare-preload: Placed 1572864000 bytes'
                check 'and no more' times_said 1 libmshare-preload
                check 'reload: it executes itself' kill -USR2 "$php"
                check 'it takes the region again' within 120 times_said 2 'libmshare-preload: Placed 1572864000 bytes'
                check 'its processes share' within 60 family_shares php "$php"
                kill -TERM "$php"
                check 'no sharer is left' is 0 sharers php
                cat > loop.php << 'PHP'
<?php
function loop($n) { for ($sum = $i = 0; $i < $n; $i++) $sum += $i * 3 % 7; return $sum; }
for ($k = 0; $k < 300; $k++) $sum = loop(2000);
echo $sum, opcache_get_status()['jit']['on'] ? ' compiled' : ' interpreted',
        strpos(file_get_contents('/proc/self/maps'), '/sys/fs/mshare/php') ? ' inside' : ' outside';
PHP
                compiled() {
                        env LD_PRELOAD=$preload MSHARE_REGION=php "$php" -d opcache.enable_cli=1 \
                                -d opcache.memory_consumption=5000 -d opcache.jit=tracing -d opcache.jit_buffer_size=64M \
                                loop.php 2> php.log
                }
                php=/usr/bin/${fpm##*/}
                php=${php/-fpm/}
                check 'compiled code in the region' is '6001 compiled inside' compiled
                check 'the region is free' msharectl remove php
        fi
else
        skip 'PHP' 'php-fpm is not installed'
fi

# A server that closes all its descriptors, including lease and claim.

region closing 256M
cat > first.py << 'PY'
import mmap, os, time
m = mmap.mmap(-1, 100 << 20)
m[0:9] = b"important"
os.closerange(3, 4096)
open("/srv/servers/ready", "w").close()
while not os.path.exists("/srv/servers/go"):
    time.sleep(0.1)
inside = any("/sys/fs/mshare/closing" in line for line in open("/proc/self/maps"))
raise SystemExit(0 if inside and m[0:9] == b"important" else 1)
PY
environment() { env LD_PRELOAD=$preload MSHARE_REGION=closing "$@"; }
environment python3 first.py &
first=$!
check 'a server closes its descriptors' within 120 test -e ready
check 'it is a sharer' is 1 sharers closing
check 'a second server is refused' fails environment python3 -c 'import mmap; mmap.mmap(-1, 100 << 20)'
touch go
check 'and the first has its data' wait $first
check 'then the second is served' environment python3 -c '
import mmap
m = mmap.mmap(-1, 100 << 20)
raise SystemExit(0 if "/sys/fs/mshare/closing" in open("/proc/self/maps").read() and m[0:9] == bytes(9) else 1)'
check 'the region is free' msharectl remove closing

echo "1..$count"
