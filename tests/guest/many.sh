#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A thousand regions of 1 GiB at once, each of them attached by a process, on the real kernel. A process has room for
# 64 windows, so there are 16 processes. MSHARE_MANY: how many regions, at most 1000.
# limit: 900
# only: long
# long: MSHARE_MANY=1000
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

needs_mshare
n=${MSHARE_MANY:-1000}
holders=$(((n + 63) / 64))

manager=(org.mshare1 /org/mshare1 org.mshare1.Manager)
cat > "$out/many.py" << 'PY'
import ctypes, os, sys
sd = ctypes.CDLL("libsystemd.so.0")
GIB = 1 << 30
READ_WRITE = os.O_RDWR
ENOMEM = 12

class Error(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("message", ctypes.c_char_p), ("need_free", ctypes.c_int)]

def bus():
    b = ctypes.c_void_p()
    assert sd.sd_bus_open_system(ctypes.byref(b)) >= 0
    return b

def call(b, member, types, *arguments):
    error = Error()
    r = sd.sd_bus_call_method(b, b"org.mshare1", b"/org/mshare1", b"org.mshare1.Manager", member, ctypes.byref(error), None,
                              types, *arguments)
    assert r >= 0, error.message

def create(low, high):
    b = bus()
    for i in range(low, high):
        call(b, b"CreateRegion", b"stua{sv}", b"r%d" % i, ctypes.c_uint64(GIB), 0o600, 0)

def remove(low, high):
    b = bus()
    for i in range(low, high):
        call(b, b"RemoveRegion", b"sa{sv}", b"r%d" % i, 0)

def tables():
    with open("/proc/self/status", encoding="ascii") as status:
        return [int(line.split()[1]) for line in status if line.startswith("VmPTE:")][0]

def hold(low, high, more):
    """Attach them, write to each, and read that; say so, and stay until standard input ends."""
    lib = ctypes.CDLL("libmshare.so.0")
    lib.mshare_region_address.restype = ctypes.c_void_p
    before = tables()
    where = {}

    def acquire(i):
        region, message = ctypes.c_void_p(), ctypes.c_char_p()
        r = lib.mshare_region_acquire(b"r%d" % i, READ_WRITE, None, ctypes.byref(region), ctypes.byref(message))
        return r, region, message.value

    for i in range(low, high):
        r, region, message = acquire(i)
        assert r == 0, message
        where[i] = lib.mshare_region_address(region)
        # The first word and the last one.
        ctypes.c_uint64.from_address(where[i]).value = i
        ctypes.c_uint64.from_address(where[i] + GIB - 8).value = ~i
    cost = tables() - before
    for i, address in where.items():
        assert ctypes.c_uint64.from_address(address).value == i
        assert ctypes.c_int64.from_address(address + GIB - 8).value == ~i
    if more:
        # It has 64.
        r, _, message = acquire(high)
        assert r == -ENOMEM, (r, message)
        assert b"windows (a process has at most 64)" in message, message
    # At most a page for each 512 GiB that a window touches, and what libmshare needs for itself.
    spans = len({address >> 39 for address in where.values()})
    print("%d windows in %d times 512 GiB: %d kB of page tables" % (len(where), spans, cost), flush=True)
    assert cost <= spans * 4 + 200, cost
    print("ready", flush=True)
    sys.stdin.read()

def where_they_are():
    """Of the regions in the order of their creation, whose list comes by standard input."""
    import json
    rows = json.load(sys.stdin)["data"][0]
    windows = {int(row[0][1:]): (row[2], row[3]) for row in rows}
    in_order = [windows[i][0] for i in range(len(windows))]
    n = len(in_order)
    assert {length for _, length in windows.values()} == {GIB}
    assert all(address % GIB == 0 for address in in_order)
    assert len(set(in_order)) == n
    # The best zone has room for 21504 regions, and no process uses it.
    assert all(43 << 39 <= address < 85 << 39 for address in in_order), (hex(min(in_order)), hex(max(in_order)))
    # At random: every second one is above the one before, and nearly every part of the zone has some.
    above = sum(a < b for a, b in zip(in_order, in_order[1:]))
    spans = len({address >> 39 for address in in_order})
    print("%d of %d above the one before, %d times 512 GiB have one" % (above, n - 1, spans))
    assert abs(above - n / 2) < n**0.5 * 3 and spans > min(n / 4, 38)

globals()[sys.argv[1]](*map(int, sys.argv[2:]))
PY
many() { python3 "$out/many.py" "$@"; }
get() { busctl get-property "${manager[@]}" "$1" | cut -d' ' -f2-; }
list() { busctl -j call "${manager[@]}" ListRegions; }
placed() { list | many where_they_are; }
# All processes report; stop waiting when one of them has exited.
attached() {
        local ready=0
        while [ "$(jobs -r | wc -l)" = $holders ]; do
                ready=$(cat "$out"/holder.* | grep -c '^ready$')
                [ "$ready" != $holders ] || return 0
                sleep 0.5
        done
        echo "$ready are ready, and one has exited"
        tail -n 3 "$out"/holder.*
        return 1
}
# That many regions have one client, and that many have one sharer.
with_one_client() { list | python3 -c 'import json, sys; print(sum(row[7] == 1 for row in json.load(sys.stdin)["data"][0]))'; }
with_one_sharer() {
        python3 -c '
import os
n = 0
for name in os.listdir("/sys/fs/mshare"):
    fd = os.open("/sys/fs/mshare/" + name, os.O_RDONLY)
    with open("/proc/self/fdinfo/%d" % fd) as info:
        n += "mshare-sharers:\t1\n" in info.read()
    os.close(fd)
print(n)'
}

systemctl enable --now mshared 2> /dev/null
began=$SECONDS
check "$n regions of 1 GiB" many create 0 "$n"
echo "# created after $((SECONDS - began)) s"
check 'the broker has them' is "$n" get NRegions
check 'at random places that no process uses' placed
sed 's/^/# /' "$out/log"

mkfifo "$out/stay"
exec {stay}<> "$out/stay"
for ((i = 0; i < holders; i++)); do
        high=$((i < holders - 1 ? i * 64 + 64 : n))
        many hold $((i * 64)) $high $((i < holders - 1)) < "$out/stay" > "$out/holder.$i" 2>&1 {stay}>&- &
done
check "$holders processes attach them all, and no more than 64 each" attached
echo "# attached after $((SECONDS - began)) s"
sed 's/^/# /' "$out/holder.0" "$out/holder.$((holders - 1))"
check 'each has a client' is "$n" with_one_client
check 'and a sharer' is "$n" with_one_sharer
check 'restart of the broker' systemctl restart mshared
check 'it takes up all clients' is "$n" get NClients
check 'of all regions' is "$n" with_one_client

# The limit is 1024 unless set otherwise.
mkdir -p /etc/mshare/mshared.conf.d
limit() { # limit NUMBER
        printf '[Limits]\nRegionsMax=%d\n' "$1" > /etc/mshare/mshared.conf.d/10-test.conf
        systemctl reload mshared
}
check 'a limit' limit $((n + 1))
check 'is not reached' many create "$n" $((n + 1))
check 'and then says what sets it' refused 'RegionsMax= in mshared.conf' many create $((n + 1)) $((n + 2))
check 'which is done' limit $((n + 100))
check 'and there is room' many create $((n + 1)) $((n + 2))
rm /etc/mshare/mshared.conf.d/10-test.conf
systemctl reload mshared

exec {stay}>&-
wait
check 'the processes have gone' is 0 get NClients
check 'the regions go' many remove 0 $((n + 2))
check 'all of them' is '' ls /sys/fs/mshare
echo "# after $((SECONDS - began)) s"
echo "1..$count"
