#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# msharectl with the real daemon: command.sh PATH-OF-MSHARECTL
# shellcheck disable=SC2015,SC2016,SC2317
set -u

# shellcheck source=tests/ctl/check.bash
. "$(dirname "$0")/../ctl/check.bash"

check 'status' run 0 'mshared [0-9.]+ +Kernel: has mshare, granule 1G +Regions: 0 +Clients: 0 +Page tables: 0B held once, 0B saved +Calls: [0-9]+, [0-9]+ answered with an error +polkit: questions: 0; 0 yes, 0 no, 0 failed, 0 timed out, 0 cancelled +: waiting calls: 0, total wait 0s +Limits: RegionsMax=[0-9]+ .*LeasesPerUserMax=[0-9]+ .*' '' status
check 'an infinite limit' run 0 '.* BytesPerUserMax=infinity .*' '' status
check 'show prints the same' run 0 'BytesPerUserMax=infinity ' '' show -p BytesPerUserMax
check 'create' run 0 'Created region pgdata: 300G at 0x[0-9a-f]+\. ' '' create pgdata 300G --mode=0640 --owner=daemon: --label='for "us"'
check 'list' run 0 'NAME +SIZE +RESIDENT +SHARERS +CLIENTS +TABLES +SAVED +MODE +OWNER +STATE pgdata +300G +[0-9.]+[BKM] +[0-9]+ +0 +[0-9.]+[BKM] +[0-9.]+[BKM] +0640 daemon:daemon ready  1 region listed\. ' ''
check 'and where' run 0 '.*pgdata .* ready +0x[0-9a-f]+ +300G .*' '' list --addresses
check 'status of it' run 0 'pgdata - for "us" +State: ready +Window: 300G at .* +Size: 300G, anonymous +Mode: 0640 +Owner: daemon:daemon .*' '' status pgdata
check 'in JSON' json 'd["Name"] == "pgdata" and d["Size"] == 300 << 30 and d["Label"] == "for \"us\"" and d["LingerUSec"] == 0' status pgdata --json=short
check 'every kind of backing but file' sh -ec "for b in anonymous memfd empty; do '$ctl' create -q b 1M --backing=\$b; '$ctl' status b | grep -q \"Size: 1M, \$b\"; '$ctl' remove b; done"
truncate -s 1M "$out/file"
check 'and that' run 0 '' '' create -q f 1M --backing=file --file="$out/file"
check 'all options' run 0 '' '' create -q o 2M --populate --lifetime=while-leased --linger=500ms --hugepages=never --numa=bind:0 --address=0x580000000000
check 'are there' run 0 '.*Window: 1G at 0x580000000000 .*NUMA: bind:0 .*Lifetime: while-leased, lingers 0\.5s .*' '' status o
echo 1 >"$FAKE_MSHARE_MEM/available"
for signal in INT TERM; do
        "$ctl" create cancelled 1G --populate 2>"$out/cancelled" </dev/null &
        pid=$!
        for _ in $(seq 100); do
                "$ctl" show cancelled -p State --value 2>/dev/null | grep -q creating && break
                sleep 0.02
        done
        kill -$signal $pid
        wait $pid
        status=$?
        check "create --populate can be cancelled with SIG$signal" [ $status = $((128 + $(kill -l $signal))) ]
        check 'it says so' grep -q "Cancelled; region 'cancelled' was not created" "$out/cancelled"
        check 'and leaves nothing' run 3 '' '.*There is no region .cancelled. ' status cancelled
        check 'not even a file' [ ! -e "$FAKE_MSHARE/cancelled" ]
done
rm "$FAKE_MSHARE_MEM/available"
# Its memory is real, so there is little of it. The donor reports progress ten times a second.
check 'progress is shown on a terminal' python3 - "$ctl" <<'PY'
import os, pty, sys
shown = b""
def read(fd):
    global shown
    data = os.read(fd, 4096)
    shown += data
    return data
status = pty.spawn([sys.argv[1], "create", "progress", "1G", "--populate"], read)
assert status == 0 and b"Created region progress: 1G at 0x" in shown, (status, shown)
assert b"% of 1G" in shown and b"\r\x1b[K" in shown, shown
PY
check 'and not elsewhere' run 0 'Created region quiet: .* ' '' create quiet 64M --populate
"$ctl" remove progress quiet
# Every user can send each connection signals with the broker's names. Until there is memory, the broker sends none.
echo 1 >"$FAKE_MSHARE_MEM/available"
check 'as the broker says it is, and not as others do' python3 - "$ctl" "$FAKE_MSHARE_MEM/available" <<'PY'
import os, pty, subprocess, sys, threading, time
shown = b""
def busctl(*args):
    return subprocess.run(["busctl", "--system", *args], capture_output=True, text=True, timeout=20).stdout
def forge():
    deadline = time.monotonic() + 5
    while b"% of 1G" not in shown and time.monotonic() < deadline:
        for line in busctl("list", "--unique", "--no-legend").splitlines():
            busctl("emit", "--destination=" + line.split()[0], "/org/mshare1/region/progress", "org.freedesktop.DBus.Properties",
                   "PropertiesChanged", "sa{sv}as", "org.mshare1.Region", "1", "Progress", "d", "7", "0")
    os.unlink(sys.argv[2])
def read(fd):
    global shown
    data = os.read(fd, 4096)
    shown += data
    return data
threading.Thread(target=forge).start()
status = pty.spawn([sys.argv[1], "create", "progress", "1G", "--populate"], read)
assert status == 0 and b"  0% of 1G" in shown and b"700%" not in shown, (status, shown)
PY
"$ctl" remove progress
check 'an address in use' run 1 '' '.*Cannot create the region: .* ' create p 2M --address=0x580000000000
check 'an invalid name' run 1 '' '.*expected 1 to 255 .*' create 'a b' 1M
check 'a name that is taken' run 1 '' '.*pgdata.*' create pgdata 1M
check 'chmod' run 0 '' '' chmod 0666 pgdata f
check 'chown' run 0 '' '' chown root f
check 'both' run 0 '.*f +1M .* 0666 root:[a-z]+ .*pgdata .* 0666 daemon:daemon .*' '' list
check 'run holds a lease' sh -c "'$ctl' run pgdata -- env -u LD_PRELOAD '$ctl' clients pgdata --no-legend | grep -Eq '^root +[0-9]+ .* rw '"
check 'which ends with it' run 0 '0 clients listed. ' '' clients pgdata
"$ctl" run pgdata -- sleep 30 &
holder=$!
for _ in $(seq 100); do
        "$ctl" clients pgdata --no-legend | grep -q . && break
        sleep 0.05
done
check 'a busy region' run 1 '' '.*Cannot remove the region: .* ' remove pgdata
check 'force' run 0 '' '' remove --force pgdata
kill $holder
wait 2>/dev/null
check 'the last lease takes a while-leased region with it, after a while' bash -c "
        '$ctl' run o -- true
        for _ in \$(seq 60); do '$ctl' status o >/dev/null 2>&1 || exit 0; sleep 0.1; done; exit 1"
check 'no such region' run 3 '' '.*There is no region .o. ' status o
check 'remove' run 0 '' '' remove f
check 'nothing is left' run 0 '0 regions listed. ' '' list

echo "1..$count"
exit $failed
