#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Regions that grow and shrink while processes use them, on the real kernel.
# limit: 1200
# follows: containers
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash
# shellcheck source=tests/guest/clients.bash
. ./clients.bash

needs_mshare
needs_program $client

M=$((1 << 20))
resize() { # resize NAME SIZE [OPTIONS]: OPTIONS as busctl has them, with their number
        # By itself, busctl waits 25 s.
        busctl call --timeout=300 org.mshare1 /org/mshare1 org.mshare1.Manager ResizeRegion 'sta{sv}' "$1" "$2" "${@:3}"
}
property() { busctl get-property org.mshare1 "/org/mshare1/region/$1" org.mshare1.Region "$2" | cut -d' ' -f2-; }
mapped() { # in bytes
        msharectl maps "$1" --json=short | grep -oE '"(start|end)":[0-9]+' |
                awk -F: '/end/ { s += $2 } /start/ { s -= $2 } END { printf "%d\n", s }'
}
settled() { ! grep -q ^EXTENT= "/run/mshared/regions/$1"; }
shmem() { awk '$1 == "Shmem:" { print $2 * 1024 }' /proc/meminfo; }

systemctl enable --now mshared 2> /dev/null
for backing in anonymous memfd; do
        check "$backing: a region of 16 MiB" busctl call org.mshare1 /org/mshare1 org.mshare1.Manager CreateRegion 'stua{sv}' \
                r $((16 * M)) $((0666)) 2 backing s $backing populate b true
        rm -f "$out"/to* "$out"/from*
        start 1 1000 > /dev/null
        start 2 65534 > /dev/null
        tell 1 'acquire r rw' > /dev/null
        tell 2 'acquire r r' > /dev/null
        check 'a page beyond it is nothing' says 1 "try $((16 * M))" 'ok signal 7'
        check 'it grows' resize r $((48 * M)) 0
        check 'and is said to have' is "$((48 * M))" property r Size
        check 'that much is mapped' is "$((48 * M))" mapped r
        check 'a process that was attached writes there' tell 1 "put $((40 * M)) hello"
        check 'another reads it' says 2 "get $((40 * M))" 'ok hello'
        check 'what is added is not populated' [ "$(property r ResidentBytes)" -lt $((20 * M)) ]
        check 'grown again, populated' resize r $((64 * M)) 1 populate b true
        check 'it is' [ "$(property r ResidentBytes)" -ge $((32 * M)) ]
        check 'all of it is written' tell 1 "fill $((64 * M))"
        check 'one locks a part of the end' tell 1 "lock $((30 * M)) $((64 << 10))"
        before=$(shmem)
        # What was added are objects of their own, of 32 and 16 MiB, which go as a whole. Of the first, half stays mapped.
        check 'it does not shrink under its clients' refused 'client' resize r $((8 * M)) 0
        check 'but by force' resize r $((8 * M)) 1 force b true
        given_back=$((before - $(shmem)))
        echo "# $((given_back >> 10)) KiB of 56 MiB given back"
        check 'the memory is given back, that of a part of an object as well' [ $given_back -ge $((55 * M)) ]
        check 'for all' is "$((8 * M))" property r ResidentBytes
        check 'no more is mapped' is "$((8 * M))" mapped r
        check 'a write to the end is a SIGBUS' says 1 "try $((8 * M))" 'ok signal 7'
        check 'and further behind' says 1 "try $((40 * M))" 'ok signal 7'
        check 'the rest is as it was' tell 2 "check 0 $((8 * M)) f"
        check 'it grows once more' resize r $((48 * M)) 0
        check 'with new memory' tell 2 "check $((8 * M)) $((40 * M)) -"
        end 1
        end 2
        check 'without clients it shrinks' resize r 4096 0
        check 'to a page' is 4096 property r ResidentBytes
        check 'and is removed' msharectl remove r
done

# A file belongs to its owner: nothing is removed from it.
truncate -s 8M "$out/file"
printf tail | dd of="$out/file" bs=1 seek=$((6 * M)) conv=notrunc status=none
check 'a region with a file' msharectl create -q f 8M --backing=file "--file=$out/file"
check 'shrinks' msharectl resize f 4M
check 'to that' is $((4 * M)) mapped f
check 'its file does not' [ "$(stat -c %s "$out/file")" = $((8 * M)) ]
check 'and has its content' [ "$(dd if="$out/file" bs=1 skip=$((6 * M)) count=4 status=none)" = tail ]
check 'it cannot grow' refused 'can only shrink' msharectl resize f 8M
check 'and is removed' msharectl remove f

# Under load: two processes write and read all the time, while it grows in steps.
msharectl create -q load 4M --mode=0666
start 3 1000 > /dev/null
start 4 1000 > /dev/null
for n in 3 4; do tell $n 'acquire load rw' > /dev/null; done
load() { # load N: while a file exists
        while [ -e "$out/loaded" ]; do
                tell "$1" "fill $((4 * M))" && tell "$1" "check 0 $((4 * M)) f" || return
                echo "$1" >> "$out/rounds"
        done
}
: > "$out/rounds"
touch "$out/loaded"
load 3 > "$out/load3" 2>&1 &
loads=($!)
load 4 > "$out/load4" 2>&1 &
loads+=($!)
grow_in_steps() {
        local i
        for i in $(seq 2 6); do
                resize load $((i * 4 * M)) 1 populate b "$([ $((i % 2)) = 0 ] && echo true || echo false)" || return
        done
        resize load $((4 * M)) 1 force b true
}
check 'a region under load grows and shrinks' grow_in_steps
rm "$out/loaded"
check 'its processes do not notice it' wait "${loads[@]}"
check 'but go on' [ "$(wc -l < "$out/rounds")" -ge 2 ]

# As PostgreSQL resizes its reserved memory: one process does it for all.
check 'a process gives back a part' tell 3 "advise $((2 * M)) $((2 * M)) 9"
check 'for all' is $((2 * M)) property load ResidentBytes
check 'a process that reads there gets zeros' tell 4 "check $((2 * M)) $((2 * M)) -"
check 'it is populated again' tell 3 "advise $((2 * M)) $((2 * M)) 23"
check 'for all, too' is $((4 * M)) property load ResidentBytes
check 'it can be written' tell 4 "fill $((4 * M))"
check 'and read' tell 3 "check 0 $((4 * M)) f"

# A sharer has mapped something of its own where the region would grow.
check 'what a sharer has mapped is not replaced' bash -c '
        python3 - << "PY"
import ctypes, mmap, struct, subprocess
start, length = struct.unpack("<QQ", open("/sys/fs/mshare/load", "rb").read())
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
file = open("/sys/fs/mshare/load", "r+b")
fd = file.fileno()
FAILED = ctypes.c_void_p(-1).value
assert libc.mmap(start, length, 3, 1, fd, 0) == start, ctypes.get_errno()
p = libc.mmap(start + (8 << 20), 4096, 3, 1 | 0x20 | 0x100000, -1, 0)
assert p == start + (8 << 20), ctypes.get_errno()
r = subprocess.run(["busctl", "call", "org.mshare1", "/org/mshare1", "org.mshare1.Manager", "ResizeRegion", "sta{sv}", "load",
                    str(16 << 20), "0"], capture_output=True, text=True)
assert r.returncode != 0 and str(8 << 20) in r.stderr, r
assert libc.munmap(ctypes.c_void_p(p), ctypes.c_size_t(4096)) == 0
PY'
check 'and its size is as it was' is $((4 * M)) property load Size
end 3
end 4

# The broker is killed while a donor populates what it has added. The donor is stopped there, however fast it is.
msharectl create -q k 1M --mode=0600
resize k $((512 * M)) 1 populate b true > "$out/killed" 2>&1 &
resizer=$!
is_growing() {
        local donor _
        for _ in $(seq 600); do
                donor=$(pgrep -o -f '^mshared --donor k( |$)') && kill -STOP "$donor" && [ "$(mapped k)" -gt $M ] && return
                [ -z "$donor" ] || kill -CONT "$donor"
                kill -0 $resizer || return
        done
        return 1
}
check 'a region grows' is_growing
kill -9 "$(systemctl show -P MainPID mshared)"
check 'its broker is killed, and the call ends' bash -c '! wait "$1"' sh $resizer
check 'the next one puts it in order' is $M property k Size
for _ in $(seq 600); do settled k && break; sleep 0.1; done
check 'its record too' settled k
check 'nothing more is mapped' is $M mapped k
check 'nothing more is resident' [ "$(property k ResidentBytes)" -le $M ]
check 'it grows when asked again' resize k $((8 * M)) 1 populate b true
check 'and what is added is there' is $((7 * M)) property k ResidentBytes
for name in k load; do msharectl remove --force $name; done

# A declared region.
declare_u() { printf '[Region]\nSize=%s\nMaximumSize=1T\n' "$1" > /etc/mshare/regions.d/u.conf; }
mkdir -p /etc/mshare/regions.d
declare_u 4M
check 'a unit makes a region' systemctl start mshare-region@u
declare_u 12M
check 'its reload makes it larger' systemctl reload mshare-region@u
check 'as declared' is $((12 * M)) property u Size
check 'with room for more' is $((1 << 40)) property u Length
check 'which msharectl takes' msharectl resize u 16M --populate
check 'and what is added is populated' is $((4 * M)) property u ResidentBytes
declare_u 2M
check 'another makes it smaller' systemctl reload mshare-region@u
check 'and gives the memory back' is 0 property u ResidentBytes
check 'which the journal tells' bash -c 'journalctl -b -o cat -u mshared | grep -q "Size of region u set from 16777216 to 2097152 bytes"'
check 'the unit goes on' is active systemctl is-active mshare-region@u
check 'and removes it' systemctl stop mshare-region@u
rm /etc/mshare/regions.d/u.conf
check 'nothing is left' bash -c '[ -z "$(ls /sys/fs/mshare)" ] && [ -z "$(ls /run/mshared/regions)" ]'

echo "1..$count"
