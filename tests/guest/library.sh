#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libmshare and msharectl on the real kernel and the real broker: unrelated
# processes acquire a region, see each other's writes, and share page tables.
# limit: 400
# follows: boot
# long-kernel: debug
# long-limit: 1200
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash
# shellcheck source=tests/guest/clients.bash
. ./clients.bash

size=$((64 << 20))

needs_mshare
needs_program $client

systemctl enable --now mshared 2> /dev/null
check 'the broker knows the kernel' bash -c 'msharectl status | grep -q "has mshare, granule 1G"'
check 'a region for user1000' msharectl create shared 64M --mode=0640 --owner=1000:1000
check 'msharefs has it' sh -c '[ "$(stat -c %u:%g:%a /sys/fs/mshare/shared)" = 1000:1000:640 ]'

start 1 1000 > /dev/null
start 2 1000 > /dev/null
start 3 65534 > /dev/null
check 'one process acquires it' tell 1 'acquire shared rw'
where=${answer#ok }
check 'another gets the same place' says 2 'acquire shared rw' "ok $where"
check 'which is what the kernel says' python3 - "$where" << 'PY'
import struct, sys
start, size = struct.unpack("<QQ", open("/sys/fs/mshare/shared", "rb").read())
address, length, _ = sys.argv[1].split()
assert (start, size) == (int(address, 16), int(length)), (hex(start), size, sys.argv[1])
PY
check 'what one writes' tell 1 'put 12345 hello'
check 'the other reads' says 2 'get 12345' 'ok hello'
check 'and the other way' tell 2 'put 4096 back'
check 'round' says 1 'get 4096' 'ok back'
check 'the broker counts two clients' is 2 stat_of shared NClients
check 'the kernel two sharers' is 2 stat_of shared NSharers
check 'msharectl names them' bash -c '[ "$(msharectl clients shared --no-legend | grep -c "^user1000 .* rw ")" = 2 ]'

check 'a stranger is refused by the broker' refuses 3 'acquire shared rw' 13 shared
check 'and by the kernel' refuses 3 "raw shared rw ${where% *}" 13 'Permission denied'
check 'and counts for nothing' is 2 stat_of shared NClients

check 'one fills the memory' tell 1 "fill $size"
check 'the other reads all of it without a fault' at_most 2 "touch $size" 40
check 'and has no page tables of its own for it' at_most 2 tables 120

check 'a reader acquires it' tell 2 release
check 'as such' tell 2 'acquire shared r'
check 'reads it' says 2 'get 4096' 'ok fack'
check 'and cannot write' says 2 'try 4096' 'ok signal 11'
check 'a writer can' says 1 'try 4096' 'ok written'
check 'which the reader sees' says 2 'get 4096' 'ok !ack'

check 'a child' tell 1 fork
check 'a child has it from its start' says 1 'get 4096' 'ok !ack'
check 'without a fault' at_most 1 "touch $size" 60
check 'is a sharer' is 3 stat_of shared NSharers
check 'and no client of its own' is 2 stat_of shared NClients
check 'it releases' tell 1 release
check 'its parent does not' is 2 stat_of shared NSharers
check 'and is a client still' is 2 stat_of shared NClients
end 1
check 'until it ends' is 1 stat_of shared NClients
check 'as sharer too' is 1 stat_of shared NSharers

check 'detached' tell 2 detach
check 'it is no sharer' is 0 stat_of shared NSharers
check 'but a client' is 1 stat_of shared NClients
check 'attached again' tell 2 attach
check 'it finds its data' says 2 'get 4096' 'ok !ack'

check 'restart of the broker' systemctl restart mshared
check 'the client is known' is 1 stat_of shared NClients
check 'its data are there' says 2 'get 4096' 'ok !ack'
kill -9 "$(systemctl show -P MainPID mshared)"
check 'a killed broker comes back' is 1 stat_of shared NClients
check 'and the data are there' says 2 'get 4096' 'ok !ack'

check 'a busy region is not removed' bash -c '! msharectl remove shared 2> /dev/null && msharectl status shared'
check 'exec drops it' says 2 exec 'ok ready'
check 'the lease' is 0 stat_of shared NClients
check 'and the window' is 0 stat_of shared NSharers

start 4 1000 > /dev/null
check 'one more acquires it' tell 4 'acquire shared rw'
kill -9 "${pid[4]}"
wait "${pid[4]}" 2> /dev/null
check 'killed, it is no client' is 0 stat_of shared NClients
check 'nor sharer' is 0 stat_of shared NSharers

start 5 1000 > /dev/null
check 'a client of a region that is removed by force' tell 5 'acquire shared rw'
check 'removed' msharectl remove --force shared
check 'keeps it' says 5 'get 4096' 'ok !ack'
start 6 1000 > /dev/null
check 'no new client gets it' refuses 6 'acquire shared rw' 2 shared
end 5
end 6
check 'and it is gone' sh -c '! [ -e /sys/fs/mshare/shared ]'
check 'nothing is left' bash -c '[ -z "$(ls /sys/fs/mshare)" ] && [ -z "$(msharectl --no-legend)" ]'

as_user() { setpriv --reuid=1000 --regid=1000 --clear-groups "$@"; }
denied() { # denied ARGUMENTS...: msharectl reports that access was denied, with the exit status for that
        as_user msharectl "$@" < /dev/null
        [ $? = 4 ]
}
check 'a user may not make regions without a word from polkit' denied create his 1M --no-ask-password
check 'nor with a question that is not answered' denied create his 1M
msharectl create -q his 1M --owner=1000:1000
check 'and cannot give its own region away' denied chown root his
check 'but can change its mode' as_user msharectl chmod 0400 his
check 'and see it' bash -c '[ "$(msharectl list --no-legend | grep -c "^his .* 0400 user1000:user1000 ")" = 1 ]'
as_user msharectl monitor > "$out/events" 2> "$out/monitor" &
monitor=$!
# It reports when the bus has its matches.
check 'and watch' is 1 grep -c '^Monitoring regions' "$out/monitor"
check 'and remove it' as_user msharectl remove his
check 'which others hear of' is 1 grep -c 'RegionRemoved his$' "$out/events"
kill $monitor
check 'the manual is installed' bash -c 'ls /usr/share/man/man1/msharectl.1* /usr/share/man/man3/mshare_region_attach.3* /usr/share/man/man7/mshare-postgresql.7*'

echo "1..$count"
