#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The broker on a kernel without mshare: it runs, reports that, and does not keep callers waiting.
# limit: 300
# kernel: stock
# only: long
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

manager=(org.mshare1 /org/mshare1 org.mshare1.Manager)
why='expected Linux 6.12 with the mshare patch and CONFIG_MSHARE=y'
ends() { # ends STATUS TEXT COMMAND...: it soon exits with that status and prints that text
        local status=$1 text=$2 said got
        shift 2
        said=$(timeout 20 "$@" 2>&1)
        got=$?
        echo "$said"
        [ $got = "$status" ] && [[ $said == *"$text"* ]]
}
property() { busctl get-property "${manager[@]}" "$1"; }
call() { busctl call "${manager[@]}" "$@"; }

check 'it is a kernel without mshare' sh -c '! [ -e /sys/fs/mshare ] && ! [ -e /proc/sys/vm/mshare_size ]'
check 'systemctl enable --now mshared' systemctl enable --now mshared
check 'it is up' is active systemctl is-active mshared
check 'and answers' is 'a(sottuuuus) 0' call ListRegions
check 'without kernel support' is 'b false' property KernelSupport
check 'nor a granule' is 't 0' property Granule
check 'the journal has an explanation' sh -c 'journalctl --update-catalog; journalctl --sync
        journalctl -x -u mshared | grep -q "Subject: This kernel has no mshare"'
systemctl stop mshared
check 'a call starts the broker, and fails with the reason' ends 1 "$why" \
        busctl call "${manager[@]}" CreateRegion 'stua{sv}' r 4096 384 0
check 'so does a call to acquire a region' ends 1 "$why" busctl call "${manager[@]}" AcquireRegion 'ssa{sv}' r r 0
check 'there is nothing to remove' ends 1 'no region' busctl call "${manager[@]}" RemoveRegion 'sa{sv}' r 0
check 'msharectl status' ends 6 "$why" msharectl status
check 'msharectl create' ends 6 "$why" msharectl create r 1M
check 'msharectl run' ends 125 "$why" msharectl run r -- true
check 'msharectl list' ends 0 '0 regions' msharectl
check 'no password is required in vain' ends 1 "$why" setpriv --reuid=1000 --regid=1000 --clear-groups \
        busctl call "${manager[@]}" CreateRegion 'stua{sv}' r 4096 384 0

printf '[Region]\nSize=1M\n' > /etc/mshare/regions.d/r.conf
check 'a region that is declared fails' ends 1 failed systemctl start mshare-region@r
check 'with the reason' sh -c "journalctl --sync; journalctl -o cat -u mshare-region@r | grep -q '$why'"
check 'its stop does not' systemctl stop mshare-region@r
systemctl reset-failed mshare-region@r
rm /etc/mshare/regions.d/r.conf
check 'nothing else has failed' sh -c '! systemctl list-units --failed --no-legend --plain | grep mshare'
echo "1..$count"
