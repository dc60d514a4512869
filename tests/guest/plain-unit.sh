#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# mshare-postgresql --unit: a PostgreSQL that was set up by hand, with a unit as other distributions have it.
# only: long
# limit: 1800
# memory: 3072
# shellcheck disable=SC2012,SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

on_failure() { journalctl -b -o cat -n 15 -u plain -u mshare-region@pg-plain | sed 's/^/# journal: /'; }

needs_mshare
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
data=/var/lib/plain
as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
answers() { [ "$(as_postgres psql -p 5499 -XAtqc 'SELECT 1' postgres)" = 1 ]; }
size_is_about() { # size_is_about MIB: the region is as large, and at most 100 MiB larger
        local size
        size=$(msharectl show -p Size --value pg-plain)
        echo "size is $size"
        [ "$size" -gt $(($1 << 20)) ] && [ "$size" -lt $((($1 + 100) << 20)) ]
}
in_region() { mshare-postgresql check --unit=plain && answers; }
no_file_is_left() { ! find /etc -name '*pg-plain*' -o -name 50-mshare-postgresql.conf | grep .; }

systemctl enable --now mshared 2> /dev/null
install -d -o postgres -g postgres -m 700 $data
check 'a database' as_postgres "$bin/initdb" -D $data -A trust --no-sync
cat > /etc/systemd/system/plain.service << END
[Service]
Type=notify
# Emulated on a busy machine, the default of 90 s is too little for what runs before the server.
TimeoutStartSec=900
User=postgres
EnvironmentFile=/etc/default/plain
EnvironmentFile=-/etc/default/plain-*
Environment=BUFFERS=shared_buffers=128MB "LD_PRELOAD=libm.so.6 libdl.so.2"
ExecStart=$bin/postgres -D \${PGDATA} -c \$BUFFERS -c port=5499 -c fsync=off --max_connections=20
END
printf '%s\n' '# Where the data are.' "PGDATA='$data/'" > /etc/default/plain
systemctl daemon-reload
check 'the server runs' systemctl start plain
check 'it answers' answers
check 'enable' mshare-postgresql enable --unit=plain --now
check 'it is in its region' in_region
check 'the libraries that it preloaded are still there' bash -c 'grep -F libdl.so.2 /proc/$(systemctl show -P MainPID plain)/maps'
check 'status says so' bash -c "mshare-postgresql status | tee /dev/stderr | grep -E '^plain.service +pg-plain +[0-9]+M +running +yes\$'"
check "the region's size is from the unit's command line" size_is_about 140

# A drop-in of the administrator.
mkdir -p /etc/systemd/system/plain.service.d
printf '%s\n' '[Service]' 'Environment=BUFFERS=shared_buffers=256MB' > /etc/systemd/system/plain.service.d/override.conf
systemctl daemon-reload
check 'more shared_buffers' systemctl restart plain
check 'the region has grown' size_is_about 270
check 'the server is in it' in_region
check 'stopped' systemctl stop plain
check 'the region has gone' is '' ls /sys/fs/mshare
check 'started' systemctl start plain
check 'it is in its region again' in_region
check 'disable' mshare-postgresql disable --unit=plain --now
check 'it answers without' answers
check 'there is no region' is '' ls /sys/fs/mshare
check 'no file is left' no_file_is_left

# One that undoes what enable sets.
echo Environment=LD_PRELOAD= >> /etc/systemd/system/plain.service.d/override.conf
systemctl daemon-reload
check 'a drop-in without the library is noticed' refused "LD_PRELOAD in the environment of plain.service is '' and not" mshare-postgresql enable --unit=plain
check 'nothing is changed' no_file_is_left
check 'the server can be restarted' bash -c 'systemctl restart plain'
check 'and answers' answers
rm /etc/systemd/system/plain.service.d/override.conf
echo LD_PRELOAD=libdl.so.2 >> /etc/default/plain
systemctl daemon-reload
check 'so is a file of variables' refused "LD_PRELOAD is 'libdl.so.2' and not 'libmshare-preload.so:libdl.so.2' in /etc/default/plain" mshare-postgresql enable --unit=plain
check 'nothing is changed by that' no_file_is_left
systemctl stop plain
rm -rf /etc/systemd/system/plain.service* /etc/default/plain $data
systemctl daemon-reload
echo "1..$count"
exit $failed
