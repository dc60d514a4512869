#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# PostgreSQL set up for a region, on a kernel without mshare: it does not start, or starts without a region, and reports
# the reason in both cases.
# limit: 500
# kernel: stock
# only: long
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

version=$(basename "$(printf '%s\n' /usr/lib/postgresql/* | sort -V | tail -n 1)")
unit=postgresql@$version-main.service
etc=/etc/postgresql/$version/main
examples=/usr/share/doc/mshare/examples
log=/var/log/postgresql/postgresql-$version-main.log
why='This kernel has no mshare: expected Linux 6.12 with the mshare patch and CONFIG_MSHARE=y.'

told() { # told WORDS...: the journal of a unit contains them
        journalctl -b -o cat -u "$1"
        journalctl -b -o cat -u "$1" | grep -qF "$2"
}
fails() { ! "$@"; }
answers() { (cd / && [ "$(setpriv --reuid=postgres --regid=postgres --init-groups psql -XAtqc 'SELECT 1')" = 1 ]); }

check 'it is a kernel without mshare' sh -c '! [ -e /sys/fs/mshare ]'
check 'the broker starts' systemctl start mshared
check 'and knows' bash -c 'msharectl status | grep -q "has no mshare"'
[ -d "$etc" ] || pg_createcluster "$version" main > /dev/null
mkdir -p "/etc/systemd/system/$unit.d"
cp "$examples/pgdata.conf" /etc/mshare/regions.d/
cp "$examples/postgresql-mshare.conf" "/etc/systemd/system/$unit.d/mshare.conf"
cp "$examples/postgresql-environment" "$etc/environment"
systemctl daemon-reload

check 'the server does not start without its region' fails systemctl start "$unit"
check 'whose unit says why' told mshare-region@pgdata.service "Cannot create region pgdata: $why"
rm -r "/etc/systemd/system/$unit.d"
systemctl daemon-reload
check 'nor by itself' fails systemctl start "$unit"
check 'with the reason in its log' grep -F "libmshare-preload: Cannot acquire region 'pgdata': ${why%.}" "$log"
echo "MSHARE_FALLBACK = 'yes'" >> "$etc/environment"
rm -f "$log"
check 'it starts where that is allowed' systemctl start "$unit"
check 'saying so' grep -F 'continuing with memory of its own because of MSHARE_FALLBACK=yes' "$log"
check 'and answers' answers
systemctl stop "$unit"

echo "1..$count"
