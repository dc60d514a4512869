#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The Debian packages on a server that has none of the project: install, PostgreSQL
# in a region, upgrade and downgrade under load, remove, purge. Runs as root in the
# guest: server.sh FOLDER, with a repository each in FOLDER/first and FOLDER/second.
# shellcheck disable=SC2012,SC2016,SC2317
set -u

# shellcheck source=tests/guest/tap.bash
. "${0%/*}/tap.bash"
first=$1/first second=$1/second
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

version=$(basename "$(ls -d /usr/lib/postgresql/* | sort -V | tail -n 1)")
etc=/etc/postgresql/$version/main
unit=postgresql@$version-main.service
region=pg-$version-main

on_failure() {
        journalctl -b -o cat -n 15 -u mshared -u "$unit" -u "mshare-region@$region" | sed 's/^/# journal: /'
        tail -n 5 "/var/log/postgresql/postgresql-$version-main.log" 2> /dev/null | sed 's/^/# log: /'
}

# The guest reaches no other archive than the folder.
apt() {
        apt-get -q -o Dir::Etc::sourcelist=/etc/apt/mshare.list -o Dir::Etc::sourceparts=- "$@" < /dev/null
}
# from FOLDER: apt's packages are there.
from() {
        echo "deb [trusted=yes] file:$1 ./" > /etc/apt/mshare.list
        apt update
}
as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
query() { as_postgres psql -XAtqc "$1"; }
answers() { [ "$(query 'SELECT 1')" = 1 ]; }
postmaster() { head -n 1 "/var/lib/postgresql/$version/main/postmaster.pid"; }
shares() { grep "/sys/fs/mshare/$region\$" "/proc/$(postmaster)/maps"; }
property() { msharectl show -p "$1" --value "$region"; }
broker() { systemctl show -P MainPID mshared; }
installed() { [ "$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$1")" = "installed $2" ]; }
version_in() { sed -n 's/^Version: //p' "$1/Packages" | sort -u; }
# All that must be the same after the broker has been replaced. Sharers come and go with the load.
standing() {
        echo "inode $(stat -c %i "/sys/fs/mshare/$region") postmaster $(postmaster) leases $(property NClients)" \
                "owner $(property UID) mount $(awk '$5 == "/sys/fs/mshare" { print $1 }' /proc/self/mountinfo)" \
                "region unit $(systemctl show -P MainPID "mshare-region@$region")" \
                "server since $(systemctl show -P ActiveEnterTimestampMonotonic "$unit")"
}
same_standing() {
        local now
        now=$(standing)
        echo "before: $1"
        echo "now:    $now"
        [ "$now" = "$1" ]
}

needs_mshare
if [ ! -d "$etc" ]; then pg_createcluster "$version" main > /dev/null; fi
sed -i 's/^#\? *shared_buffers = .*/shared_buffers = 128MB/; s/^#\? *max_connections = .*/max_connections = 50/' "$etc/postgresql.conf"
echo 'fsync = off' >> "$etc/postgresql.conf"
cp "$etc/environment" "$out/environment"
check 'the server runs, as it was' systemctl start "$unit"
check 'nothing of the project is here' bash -c '! command -v msharectl && ! getent passwd mshared && ! mountpoint -q /sys/fs/mshare'

check 'apt knows the folder' from "$first"
check 'apt install mshare-postgresql' apt install -y --no-install-recommends mshare-postgresql
for package in libmshare0 mshared mshare-postgresql; do check "$package" installed "$package" "$(version_in "$first")"; done
check 'the broker runs' systemctl is-active mshared
check 'from its first try' is 0 systemctl show -P NRestarts mshared
check 'no start of it has failed' bash -c '! journalctl -b -o cat -u mshared | grep -iE "failed|denied|cannot"'
check 'it will after the next boot' bash -c 'systemctl is-enabled mshared && systemctl is-enabled sys-fs-mshare.mount'
check 'figures are only written on demand' bash -c '! systemctl is-enabled mshare-metrics.timer'
check 'it has its name' busctl --no-pager status org.mshare1
check 'and the kernel' bash -c 'msharectl status | grep -q "has mshare"'
check 'the loader knows the library' bash -c 'LD_PRELOAD=libmshare-preload.so true 2>&1 | diff - /dev/null'
check 'the catalog' bash -c 'journalctl --list-catalog | grep -qi mshare'
check 'the server was not touched' answers

check 'mshare-postgresql enable --dry-run' mshare-postgresql enable "$version" main --dry-run
check 'changes nothing' cmp "$etc/environment" "$out/environment"
check 'mshare-postgresql enable' mshare-postgresql enable "$version" main
check 'does not touch the server either' bash -c "! grep /sys/fs/mshare /proc/$(postmaster)/maps"
check 'systemctl restart' systemctl restart "$unit"
check 'the server is in the region' shares
check 'status says so' bash -c "mshare-postgresql status | tee /dev/stderr | grep -qE '^$unit +$region +[0-9]+M +running +yes\$'"
check 'check says so' mshare-postgresql check "$version" main

# The size follows the settings.
before=$(property Size)
sed -i 's/^shared_buffers = .*/shared_buffers = 256MB/' "$etc/postgresql.conf"
check 'shared_buffers is doubled, and the server restarted' systemctl restart "$unit"
check 'it is in the region' shares
check 'which is larger' [ "$(property Size)" -gt $((before + (100 << 20))) ]
check 'the server stops' systemctl stop "$unit"
check 'and the region goes' is '' ls /sys/fs/mshare
check 'both come back' systemctl start "$unit"
check 'together' shares

# Under load.
check 'a database' as_postgres pgbench -i -q -s 1
(cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups pgbench -n -c 8 -j 1 -R 20 -T 3600) > "$out/bench" 2>&1 &
load=$!
busy() { [ "$(query "SELECT count(*) > 4 FROM pg_stat_activity WHERE application_name = 'pgbench'")" = t ]; }
for _ in $(seq 100); do busy && break; sleep 0.2; done
check 'clients are at work' busy
before=$(standing) pid=$(broker)
echo "# $before, sharers $(property NSharers)"
check 'a new version is there' from "$second"
check 'apt upgrade' apt upgrade -y --no-install-recommends
for package in libmshare0 mshared mshare-postgresql; do check "$package is new" installed "$package" "$(version_in "$second")"; done
check 'the broker is another' bash -c "[ \$(systemctl show -P MainPID mshared) != $pid ] && systemctl is-active mshared"
check 'region, lease, mount and server are the same' same_standing "$before"
echo "# $(standing), sharers $(property NSharers)"
check 'the server answers' answers
check 'the load has gone on' kill -0 $load
check 'new connections are in the region from birth' bash -c "
        cd /; setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtqc 'SELECT pg_read_file(\$\$/proc/self/maps\$\$)' | grep '/sys/fs/mshare/$region'"
pid=$(broker)
check 'the older version is there' from "$first"
check 'downgrade' apt install -y --no-install-recommends --allow-downgrades \
        "libmshare0=$(version_in "$first")" "mshared=$(version_in "$first")" "mshare-postgresql=$(version_in "$first")"
check 'mshared is old' installed mshared "$(version_in "$first")"
check 'the broker is another again' bash -c "[ \$(systemctl show -P MainPID mshared) != $pid ] && systemctl is-active mshared"
check 'region, lease, mount and server are the same still' same_standing "$before"
check 'and the load goes on' kill -0 $load
kill -INT $load
wait $load
check 'no client of it has failed' bash -c "! grep -iE 'error|abort|fatal' $out/bench"
check 'and the books agree' bash -c "[ \"\$(cd / && setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtqc '
        SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)')\" = t ]"

# Removal.
before=$(standing)
check 'apt remove, with the server in its region' bash -c "! apt-get -q remove -y libmshare0 mshared mshare-postgresql > $out/remove 2>&1 < /dev/null"
cat "$out/remove" > "$out/log"
check 'is refused' grep -E "[0-9]+ processes have region $region attached" "$out/remove"
check 'the broker runs' systemctl is-active mshared
check 'region and server are the same' bash -c "[ -e /sys/fs/mshare/$region ] && kill -0 $(postmaster)"
check 'the server answers' answers
check 'its next start is plain' cmp "$etc/environment" "$out/environment"
check 'restart' systemctl restart "$unit"
check 'it is' bash -c "! grep /sys/fs/mshare /proc/$(postmaster)/maps"
check 'it answers' answers
check 'apt remove again' apt remove -y libmshare0 mshared mshare-postgresql
check 'nothing is mounted' bash -c '! mountpoint -q /sys/fs/mshare'
check 'no unit is left' is '' systemctl list-units --no-legend --plain 'mshare*' --state=active,failed
check 'the server answers, as ever' answers
check 'apt purge' apt purge -y libmshare0 mshared mshare-postgresql
check 'purged' bash -c '! dpkg-query -W mshared'
# The guest's own agent has the project's name.
check 'no file is left' is '' bash -c '
        find /etc /usr /var /run -xdev -iname "*mshare*" ! -path "/usr/lib/mshare-guest*" ! -path "/run/job/*" ! -path "/run/credentials/*" \
                ! -name "mshare-guest.service" ! -path "/var/lib/apt/lists/*" ! -path /etc/apt/mshare.list ! -path "/run/systemd/*" ! -path "/sys/*"'
check 'nor is a unit' is '' bash -c 'systemctl list-unit-files --no-legend | grep mshare | grep -v mshare-guest'
check 'the bus is content' bash -c '! journalctl -b -o cat -u dbus -u dbus-broker | grep -iE "invalid user-name|unknown user.*mshared" | tail -n 1 | grep .'

# And from the start again.
check 'apt install, once more' apt install -y --no-install-recommends mshare-postgresql
check 'the broker runs again' systemctl is-active mshared
check 'at once' is 0 systemctl show -P NRestarts mshared

echo "1..$count"
