#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A real power-off, with a database in its region: the database stops first, then the region, the broker and the bus.
# systemd's last step, the call that switches the machine off, waits until this script has read the journal.
# only: long
# limit: 600
# memory: 3072
# shellcheck disable=SC2012,SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

needs_mshare
version=$(basename "$(ls -d /usr/lib/postgresql/* | sort -V | tail -n 1)")
unit=postgresql@$version-main.service
etc=/etc/postgresql/$version/main
region=mshare-region@pgdata.service

on_failure() { journalctl -b -o short-monotonic --no-pager | tail -n 60 | sed 's/^/# /'; }

[ -d "$etc" ] || pg_createcluster "$version" main > /dev/null
mkdir -p /etc/mshare/regions.d "/run/systemd/system/$unit.d" /run/systemd/system/mshare-guest.service.d
printf '[Region]\nSize=auto\nFor=postgresql:%s/main\nUser=postgres\nGroup=postgres\n' "$version" \
        > /etc/mshare/regions.d/pgdata.conf
printf '%s\n' '[Unit]' "Requires=$region" "After=$region" > "/run/systemd/system/$unit.d/region.conf"
printf '%s\n' "LD_PRELOAD = 'libmshare-preload.so'" "MSHARE_REGION = 'pgdata'" >> "$etc/environment"
# The test bed's own unit, in which this script runs, stays until the end.
printf '[Unit]\nDefaultDependencies=no\n' > /run/systemd/system/mshare-guest.service.d/last.conf
mkdir -p /run/systemd/system/poweroff.target.wants
cat > /run/systemd/system/judge.service << 'CONF'
[Unit]
DefaultDependencies=no
After=shutdown.target umount.target
Before=final.target systemd-poweroff.service

[Service]
Type=oneshot
TimeoutStartSec=120
ExecStart=/bin/sh -c 'touch /run/over; until [ -e /run/judged ]; do sleep 0.1; done'
CONF
ln -s ../judge.service /run/systemd/system/poweroff.target.wants/judge.service
systemctl daemon-reload
systemctl enable --now mshared 2> /dev/null

check 'a database in its region' systemctl start "$unit"
check 'shares it' bash -c "msharectl check $unit pgdata"
check 'and its unit is up' systemctl is-active $region

over() { for _ in $(seq 3000); do [ ! -e /run/over ] || return 0; sleep 0.1; done; return 1; }
systemctl poweroff
check 'the machine is switched off, but for the last step' over

# The line of the journal, counted from the start of the shutdown, that says so of the unit.
journalctl -b -o json --output-fields=MESSAGE,MESSAGE_ID,UNIT,_SYSTEMD_UNIT --no-pager > "$out/journal"
before() { # before UNIT UNIT: the first had stopped before the second began to stop
        python3 - "$out/journal" "$@" << 'PY'
import json, sys
STOPPING, STOPPED = "de5b426a63be47a7b6ac3eaac82e2f6f", "9d1aaa27d60140bd96365438aad20286"
entries = [json.loads(line) for line in open(sys.argv[1])]
def when(unit, what):
    found = [i for i, e in enumerate(entries) if e.get("UNIT") == unit and e.get("MESSAGE_ID") == what]
    print(unit, what, found)
    return found[-1]
sys.exit(0 if when(sys.argv[2], STOPPED) < when(sys.argv[3], STOPPING) else 1)
PY
}
check 'the database stopped before its region did' before "$unit" $region
check 'the region before the broker' before $region mshared.service
check 'the broker before the bus' before mshared.service dbus.service
says() { # says UNIT WORDS: that unit, and that it did not fail
        journalctl -b -o cat -u "$1" --no-pager | tee "$out/unit"
        grep -qF -- "$2" "$out/unit"
}
check 'the broker removed the region' says mshared.service 'Region pgdata removed'
check 'nothing has failed' bash -c \
        '! journalctl -b -o cat -u "$1" -u "$2" -u mshared.service --no-pager | grep -iE "fail|cannot|error|time[d]? out"' - "$unit" $region
check 'no region is left' bash -c '! [ -e /sys/fs/mshare/pgdata ]'

echo "1..$count"
touch /run/judged
