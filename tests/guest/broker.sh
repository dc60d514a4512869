#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The installed broker with the real kernel, bus, polkit and systemd, through its public interface.
# limit: 1000
# append: numa=fake=2
# long-kernel: debug
# long-limit: 1200
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

chmod 755 "$out"
client=/usr/libexec/mshare/tests/guest-client
manager=(org.mshare1 /org/mshare1 org.mshare1.Manager)
# No password can be typed at the console.
ask=(busctl --allow-interactive-authorization=no call "${manager[@]}")
as() { # as UID COMMAND...
        local uid=$1
        shift
        setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
}
# A call that fills memory takes as long as the machine needs; by itself, busctl waits 25 s.
call() { busctl call --timeout=300 "${manager[@]}" "$@"; } # call METHOD SIGNATURE ARGUMENTS...
get() { busctl get-property org.mshare1 "$1" "$2" "$3" | cut -d' ' -f2-; }
region() { get "/org/mshare1/region/$1" org.mshare1.Region "$2"; }
owner_and_mode() { stat -c %u:%g:%a "/sys/fs/mshare/$1"; }
gone() { ! [ -e "/sys/fs/mshare/$1" ] && ! [ -e "/run/mshared/regions/$1" ]; }
state() { systemctl is-active "$1"; }

check 'systemctl enable --now mshared' systemctl enable --now mshared
check 'it is up' is active state mshared
check 'under its own user' sh -c '[ "$(ps -o user= -p "$(systemctl show -P MainPID mshared)")" = mshared ]'
check 'it answers' call ListRegions

if [ "$MSHARE_PATCHED" != yes ]; then
        check 'the broker reports that the kernel has no mshare' is false get /org/mshare1 org.mshare1.Manager KernelSupport
        check 'and creating is refused with a sentence' refused 'Linux 6.12' \
                call CreateRegion 'stua{sv}' r 4096 384 0
        check 'no unit has failed for it' sh -c '! systemctl is-failed mshared sys-fs-mshare.mount'
        echo "1..$count"
        exit 0
fi

check 'the kernel has mshare' is true get /org/mshare1 org.mshare1.Manager KernelSupport
check 'the granule is the kernel'"'s" is "$(cat /proc/sys/vm/mshare_size)" get /org/mshare1 org.mshare1.Manager Granule
check 'msharefs belongs to the broker' sh -c '[ "$(stat -c %U:%G:%a /sys/fs/mshare)" = mshared:mshared:755 ]'
check 'the broker holds three capabilities and no more' sh -c \
        '[ "$(grep CapEff "/proc/$(systemctl show -P MainPID mshared)/status" | cut -f2)" = 000000000000000d ]'

check 'busctl makes a region' call CreateRegion 'stua{sv}' made $((64 << 20)) $((0640)) 3 uid u 1000 gid u 1000 populate b true
check 'for the requested owner' is 1000:1000:640 owner_and_mode made
check 'all of it resident' is $((64 << 20)) region made ResidentBytes
check 'with its page tables, once' bash -c \
        "[ \$(busctl get-property org.mshare1 /org/mshare1/region/made org.mshare1.Region PageTableBytes | cut -d' ' -f2) -le 200000 ]"
check 'and they have no sharers yet' is 0 region made NSharers
for backing in memfd empty; do
        check "backing $backing" call CreateRegion 'stua{sv}' "b-$backing" $((2 << 20)) 384 1 backing s $backing
        check 'removed again' call RemoveRegion 'sa{sv}' "b-$backing" 0
done
truncate -s 8M "$out/file"
check 'backing file' msharectl create -q b-file 8M --backing=file "--file=$out/file" --populate
check 'all of it resident, too' is $((8 << 20)) region b_2dfile ResidentBytes
check 'and removed' msharectl remove b-file
check 'huge pages are refused as long as the kernel does not take them, or made' bash -c "
        busctl call ${manager[*]} CreateRegion 'stua{sv}' b-huge $((2 << 20)) 384 1 backing s hugetlb 2>&1 |
        grep -qE 'not support hugetlb|Not enough memory for|/org/mshare1/region/b_2dhuge'"
call RemoveRegion 'sa{sv}' b-huge 0 > "$out/log" 2>&1
check 'nothing is left of them' is made ls /sys/fs/mshare
check 'a region in the way of every process is refused' refused 'overlaps mappings of ordinary processes' \
        call CreateRegion 'stua{sv}' r $((17 << 40)) 384 1 address t $((85 << 40))
check 'and leaves nothing' gone r

# More than the machine has: the kernel would kill one process after another, although none of them has the memory.
sleep infinity &
bystander=$!
broker=$(systemctl show -P MainPID mshared)
check 'a region larger than the memory is refused' refused 'Not enough memory to populate' \
        call CreateRegion 'stua{sv}' r $((16 << 30)) 384 1 populate b true
check 'leaves nothing' gone r
check 'nor hurts the broker' is "$broker" systemctl show -P MainPID mshared
check 'nor anybody else' kill -0 $bystander
check 'and the kernel kills no process' bash -c '! dmesg | grep "Out of memory: Killed"'
kill $bystander

# While a donor populates a region, other callers are served as usual.
serves_while_populating() {
        {
                until [ -e "$out/go" ]; do sleep 0.1; done
                call CreateRegion 'stua{sv}' big $((1 << 30)) 384 1 populate b true
        } > "$out/creator" 2>&1 &
        creator=$!
        python3 - "$out/go" << 'PY'
import ctypes, statistics, sys, time
sd = ctypes.CDLL("libsystemd.so.0")
bus = ctypes.c_void_p()
assert sd.sd_bus_open_system(ctypes.byref(bus)) >= 0

def state():
    s = ctypes.c_char_p()
    r = sd.sd_bus_get_property_string(bus, b"org.mshare1", b"/org/mshare1/region/big", b"org.mshare1.Region", b"State",
                                      None, ctypes.byref(s))
    return s.value if r >= 0 else None

def list_regions():
    began = time.monotonic()
    r = sd.sd_bus_call_method(bus, b"org.mshare1", b"/org/mshare1", b"org.mshare1.Manager", b"ListRegions", None, None, None)
    assert r >= 0, r
    return (time.monotonic() - began) * 1000

idle = statistics.median(list_regions() for _ in range(50))
with open(sys.argv[1], "w"):
    pass
end = time.monotonic() + 30
while state() != b"creating":
    assert time.monotonic() < end
took = [list_regions() for _ in range(50)]
assert state() == b"creating", "it was over before it was measured"
print("ListRegions: median %.1f ms, at most %.1f ms; before it was %.1f ms" % (statistics.median(took), max(took), idle))
# Compared with the usual time of this machine. The donor populates 16 pieces; a call that had to wait for one would
# take longer.
assert statistics.median(took) < 10 * idle, took
PY
}
check 'ListRegions takes no longer while a region is populated' serves_while_populating
sed 's/^/# /' "$out/log"
check 'a removal ends that' call RemoveRegion 'sa{sv}' big 0
check 'and nothing is left of it' gone big
wait "$creator"
check 'and its creator gets the reason' grep 'while it was being created' "$out/creator"

# Two unrelated clients, and one that is not admitted.
mkfifo "$out/to" "$out/from"
as 1000 $client < "$out/to" > "$out/from" 2> "$out/err" &
exec {to}> "$out/to" {from}< "$out/from"
tell() { # tell COMMAND: to the client; its answer in $answer
        echo "$1" >&$to
        read -r -t 30 answer <&$from
        echo "$answer"
        [[ $answer == ok* ]]
}
read -r -t 30 answer <&$from
check 'the owner becomes a client' tell 'acquire made rw'
check 'the broker counts it' is 1 region made NClients
check 'so does the kernel' is 1 region made NSharers
check 'with its unit and user' bash -c 'busctl call org.mshare1 /org/mshare1 org.mshare1.Manager ListClients s made |
        grep -q "1 1000 [0-9]* \"mshare-guest.service\" \"rw\""'
check 'a stranger does not see where it is' bash -c "setpriv --reuid=1001 --regid=1001 --clear-groups \
        busctl call ${manager[*]} ListRegions | grep -q '\"made\" \"/org/mshare1/region/made\" 0 0 416 1000 1000 1 \"ready\"'"
check 'is not admitted by the broker' refused authenticat as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' made r 0
check 'and not by the kernel' as 1001 python3 - << 'PY'
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
r = libc.syscall(548, b"made", ctypes.c_void_p(17 << 40), ctypes.c_size_t(1 << 30), 0, 0)
assert r == -1 and ctypes.get_errno() == errno.EACCES, (r, ctypes.get_errno())
PY
check 'and cannot change its mode' refused authenticat as 1001 "${ask[@]}" SetRegionMode su made 511
check 'nor its owner' refused authenticat as 1001 "${ask[@]}" SetRegionOwner suu made 1001 1001
check 'nor removes it' refused authenticat as 1001 "${ask[@]}" RemoveRegion 'sa{sv}' made 1 force b true
check 'the owner admits no other user without authentication' refused authenticat as 1000 "${ask[@]}" SetRegionMode su made $((0604))
check 'but shuts others out' as 1000 "${ask[@]}" SetRegionMode su made $((0600))
check 'root lets them in' call SetRegionMode su made $((0604))
check 'so it is' is 1000:1000:604 owner_and_mode made
check 'now the stranger may read' as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' made r 0
check 'no user creates regions without authentication' refused authenticat \
        as 1001 "${ask[@]}" CreateRegion 'stua{sv}' his 4096 384 0

# Memory from certain nodes. This machine has two.
placed() { # placed NAME: write to its first 256 pages, and print policy and nodes as the kernel shows them
        python3 - "/sys/fs/mshare/$1" << 'PY'
import ctypes, os, re, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
fd = os.open(sys.argv[1], os.O_RDWR)
start, size = struct.unpack("<QQ", os.pread(fd, 16, 0))
assert libc.mmap(start, size, 3, 1, fd, 0) == start, ctypes.get_errno()
for page in range(256):
    ctypes.memset(start + page * 4096, 1, 1)
with open("/proc/self/numa_maps", encoding="ascii") as maps:
    words = [line.split() for line in maps if line.startswith("%x " % start)][0]
print(words[1], *[word for word in words if re.match("N[0-9]+=", word)])
PY
}
check 'memory from all nodes in turn' call CreateRegion 'stua{sv}' spread $((1 << 20)) $((0600)) 1 numa s interleave
check 'comes from there' is 'interleave:0-1 N0=128 N1=128' placed spread
check 'memory from one node' call CreateRegion 'stua{sv}' bound $((1 << 20)) $((0600)) 1 numa s bind:1
check 'comes from that' is 'bind:1 N1=256' placed bound
check 'also if the broker populates it' call CreateRegion 'stua{sv}' filled $((1 << 20)) $((0600)) 2 numa s bind:1 populate b true
check 'whoever touches it afterwards' is 'bind:1 N1=256' placed filled
check 'a node that is not there' refused 'node 2 has no memory that the broker may use' call CreateRegion 'stua{sv}' x 4096 384 1 numa s bind:2
check 'more than a node has' refused 'on the nodes of its memory policy' call CreateRegion 'stua{sv}' x $((1100 << 20)) 384 2 \
        numa s bind:1 populate b true
check 'leaves nothing' gone x

# polkit reads changed rules again after some time. What it answers for user1001 now, "yes" or "no". Not a function,
# because it must be the process itself.
setpriv --reuid=1001 --regid=1001 --clear-groups sleep infinity &
asker=$!
polkit_says() { # polkit_says ACTION DETAIL VALUE...
        local action=org.mshare1.$1 details=() status=0
        shift
        while [ $# -gt 0 ]; do
                details+=(--detail "$1" "$2")
                shift 2
        done
        pkcheck --action-id "$action" --process $asker "${details[@]}" > /dev/null 2>&1 || status=$?
        case $status in
        0) echo yes ;;
        1 | 2) echo no ;;
        *) echo "status $status" ;;
        esac
}
check 'polkit has no rule for it' is no polkit_says create-region region his size 4096

# A rule of the administrator takes effect.
install -d /etc/polkit-1/rules.d
cat > /etc/polkit-1/rules.d/10-mshare-test.rules << 'RULE'
polkit.addRule(function(action, subject) {
    if (action.id == "org.mshare1.create-region" && subject.user == "user1001" &&
        action.lookup("region").indexOf("his") === 0 && Number(action.lookup("size")) <= 8192)
        return polkit.Result.YES;
    // set-owner implies create-region, so it is for one region.
    if (action.id == "org.mshare1.set-owner" && subject.user == "user1001" && action.lookup("owner") == "1001" &&
        action.lookup("region") == "made")
        return polkit.Result.YES;
});
RULE
chmod 755 /etc/polkit-1/rules.d
chmod 644 /etc/polkit-1/rules.d/10-mshare-test.rules
check 'a rule of the administrator' is yes polkit_says create-region region his size 4096
check 'is obeyed' as 1001 "${ask[@]}" CreateRegion 'stua{sv}' his 4096 384 0
check 'by its details' refused authenticat as 1001 "${ask[@]}" CreateRegion 'stua{sv}' his2 16384 384 0
check 'is for those it names' refused authenticat as 1000 "${ask[@]}" CreateRegion 'stua{sv}' his3 4096 384 0
check 'the owner is the caller' is 1001:1001:600 owner_and_mode his
check 'and gets another region by it' as 1001 "${ask[@]}" SetRegionOwner suu made 1001 1001
check 'as the kernel sees it' is 1001:1001:604 owner_and_mode made
check 'its owner removes it' as 1001 "${ask[@]}" RemoveRegion 'sa{sv}' his 0
rm -f /etc/polkit-1/rules.d/10-mshare-test.rules

check 'a region in use is not removed' refused 'client' call RemoveRegion 'sa{sv}' made 0
check 'the broker restarts' systemctl restart mshared
check 'and knows its client' is 1 region made NClients
check 'kill -9' kill -9 "$(systemctl show -P MainPID mshared)"
check 'and knows it again' is 1 region made NClients
check 'the region is what it was' is 1001:1001:604 owner_and_mode made
check 'and is as big' is $((64 << 20)) region made Size
check 'policies are known' is '"bind:1"' region bound NUMA
check 'all of them' is '"interleave"' region spread NUMA
for name in spread bound filled; do call RemoveRegion 'sa{sv}' $name 0; done
check 'the bus restarts' systemctl restart dbus
check 'the broker comes back' is active state mshared
check 'with its client' is 1 region made NClients
check 'by force it goes' call RemoveRegion 'sa{sv}' made 1 force b true
check 'from the kernel too' gone made
check 'a process that has it attached continues' tell 'put 0 still'
check 'reading' tell 'get 0'
exec {to}>&- {from}<&-

# Permission by polkit if the mode gives none: it is stored in the file's access list.
listing() { # listing UID: the address that this user sees
        as "$1" busctl -j call "${manager[@]}" ListRegions |
                python3 -c 'import json, sys; print([r[2] for r in json.load(sys.stdin)["data"][0] if r[0] == "acl"][0])'
}
access_list() { # "USER:PERMISSIONS" of each named user
        python3 - << 'PY'
import errno, os, struct
try:
    v = os.getxattr("/sys/fs/mshare/acl", "system.posix_acl_access")
except OSError as e:
    print(errno.errorcode[e.errno])
else:
    entries = [struct.unpack_from("<HHI", v, i) for i in range(4, len(v), 8)]
    print(*["%d:%d" % (who, permissions) for tag, permissions, who in entries if tag == 2])
PY
}
check 'a region for one' call CreateRegion 'stua{sv}' acl $((2 << 20)) $((0600)) 2 uid u 1000 gid u 1000
where=$(region acl Address)
check 'no other user is in' refused authenticat as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' acl r 0
cat > /etc/polkit-1/rules.d/10-mshare-test.rules << 'RULE'
polkit.addRule(function(action, subject) {
    if (action.id == "org.mshare1.acquire-region" && subject.user == "user1001" && action.lookup("region") == "acl")
        return polkit.Result.YES;
});
RULE
chmod 644 /etc/polkit-1/rules.d/10-mshare-test.rules
check 'there is no list' is ENODATA access_list
check 'polkit has the rule' is yes polkit_says acquire-region region acl
check 'a rule lets another user in, by broker and kernel' bash -c "printf 'acquire acl r\\nget 0\\n' |
        setpriv --reuid=1001 --regid=1001 --clear-groups $client | tail -n 1 | grep '^ok'"
rm -f /etc/polkit-1/rules.d/10-mshare-test.rules
check 'without the rule' is no polkit_says acquire-region region acl
kill $asker
check 'the kernel knows it' is 1001:4 access_list
check 'when he has left' is 0 region acl NClients
check 'it stays' is 1001:4 access_list
check 'and lets him in without polkit' as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' acl r 0
check 'for reading' refused authenticat as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' acl rw 0
check 'for that user' refused authenticat as 2 "${ask[@]}" AcquireRegion 'ssa{sv}' acl r 0
check "nor for the region's group" refused authenticat setpriv --reuid=2 --regid=1000 --clear-groups \
        "${ask[@]}" AcquireRegion 'ssa{sv}' acl r 0
check 'who is in sees where it is' is "$where" listing 1001
check 'others do not' is 0 listing 2
attach() { # attach UID GID r|rw
        setpriv --reuid="$1" --regid="$2" --clear-groups python3 - "$where" "$3" << 'PY'
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
flags = {"r": 0, "rw": 2}[sys.argv[2]]
r = libc.syscall(548, b"acl", ctypes.c_void_p(int(sys.argv[1])), ctypes.c_size_t(1 << 30), flags, 0)
sys.exit("mshare: " + errno.errorcode[ctypes.get_errno()] if r == -1 else 0)
PY
}
check 'the kernel admits that user' attach 1001 1001 r
check 'not for writing' refused EACCES attach 1001 1001 rw
check 'nor another' refused EACCES attach 2 2 r
check 'nor the group' refused EACCES attach 2 1000 r
check 'and the owner as ever' attach 1000 1000 rw
systemctl restart mshared
check 'a restart of the broker forgets nothing of it' as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' acl r 0
check 'nor a kill' bash -c 'kill -9 "$(systemctl show -P MainPID mshared)"'
check 'still' as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' acl r 0
check 'and not more' refused authenticat as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' acl rw 0
check 'its group is admitted again if polkit says so' refused authenticat as 1000 "${ask[@]}" SetRegionMode su acl $((0640))
check 'the mode is set' call SetRegionMode su acl $((0640))
check 'which says all from then on' is ENODATA access_list
check 'so the other user is out' refused authenticat as 1001 "${ask[@]}" AcquireRegion 'ssa{sv}' acl r 0
check 'by the kernel too' refused EACCES attach 1001 1001 r
check 'and does not see where it is' is 0 listing 1001
check 'and the group is in' attach 2 1000 r
check 'it goes' call RemoveRegion 'sa{sv}' acl 1 force b true

# Created without the broker, read-only for everyone: the broker refuses what the kernel would refuse, whatever the mode
# is.
makes_read_only() { # a client of the kernel alone, which then exits
        python3 - << 'PY'
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
where, length = 60 << 40, 1 << 30
assert libc.mmap(where, 4096, 3, 0x32, -1, 0) == where  # private, anonymous, fixed
ctypes.memmove(where, b"kept", 5)
os.umask(0)
r = libc.syscall(548, b"sealed", ctypes.c_void_p(where), ctypes.c_size_t(length), os.O_CREAT | os.O_RDONLY, 0o666)
assert r == 0, os.strerror(ctypes.get_errno())
PY
}
check 'a region that is read-only for everyone' makes_read_only
check 'is adopted' is '"r"' region sealed Access
check 'with a mode that says otherwise' is 0:0:666 owner_and_mode sealed
for turn in 'at first' 'after a restart'; do
        check "no user gets to write, $turn" refused 'Access denied' as 1000 "${ask[@]}" AcquireRegion 'ssa{sv}' sealed rw 0
        check 'nor root' refused 'Access denied' call AcquireRegion 'ssa{sv}' sealed rw 0
        check 'and the error gives the reason' bash -c "echo 'acquire sealed rw' | $client |
                grep \"^error 13 .*Region 'sealed' was created with O_CREAT|O_RDONLY and is read-only for everyone\""
        check 'to read they do' is 'ok kept' bash -c "printf 'acquire sealed r\\nget 0\\n' |
                setpriv --reuid=1001 --regid=1001 --clear-groups $client | tail -n 1"
        systemctl restart mshared
done
check 'msharectl shows it' bash -c 'msharectl status sealed | grep -q "Access: read-only for everyone"'
check 'another region is as ever' bash -c "msharectl create -q usual 4K && printf 'acquire usual rw\\nput 0 x\\n' | $client | tail -n 1 | grep '^ok'"
check 'both go' msharectl remove sealed usual

# A database's unit.
cat > /etc/mshare/regions.d/pgdata.conf << 'CONF'
[Region]
Size=64M
Mode=0660
User=postgres
Group=postgres
Populate=yes
CONF
cat > /run/systemd/system/db.service << 'UNIT'
[Unit]
Requires=mshare-region@pgdata.service
After=mshare-region@pgdata.service
[Service]
User=postgres
ExecStart=sleep infinity
UNIT
systemctl daemon-reload
check 'a unit that requires a region starts' systemctl start db
check 'with the region' is "$(id -u postgres):$(id -g postgres):660" owner_and_mode pgdata
check 'which is a unit' is active state mshare-region@pgdata
memory() { systemctl show -P MemoryCurrent "$1"; }
check 'that is charged for the memory' [ "$(memory mshare-region@pgdata)" -ge $((64 << 20)) ]
check 'and not the broker' [ "$(memory mshared)" -lt $((32 << 20)) ]
before=$(systemctl show -P MainPID db)
check 'a restart of the broker' systemctl restart mshared
check 'leaves the unit alone' is "$before" systemctl show -P MainPID db
check 'and the region' is "$(id -u postgres):$(id -g postgres):660" owner_and_mode pgdata
sed -i 's/^Mode=.*/Mode=0600/; s/^User=.*/User=user1000/; s/^Group=.*/Group=user1000/' /etc/mshare/regions.d/pgdata.conf
check 'systemctl reload' systemctl reload mshare-region@pgdata
check 'applies owner and mode' is 1000:1000:600 owner_and_mode pgdata
check 'a stop of the region' systemctl stop mshare-region@pgdata
check 'stops the unit that requires it' is inactive state db
check 'and frees it' gone pgdata
mkdir -p /run/systemd/system/mshare-region@pgdata.service.d
printf '[Service]\nMemoryMax=32M\nMemorySwapMax=0\n' > /run/systemd/system/mshare-region@pgdata.service.d/limit.conf
systemctl daemon-reload
pid=$(systemctl show -P MainPID mshared)
check 'a unit that may not have that much memory does not start' refused failed systemctl start mshare-region@pgdata
check 'says why' bash -c 'journalctl --sync; journalctl -u mshare-region@pgdata --no-pager | grep "was killed, with .* of 67108864 bytes done (out of memory?"'
check 'leaves no region' gone pgdata
check 'and the broker goes on' is "$pid" systemctl show -P MainPID mshared
rm -r /run/systemd/system/mshare-region@pgdata.service.d
systemctl daemon-reload
systemctl reset-failed mshare-region@pgdata
sed -i 's/^Size=.*/Size=much/' /etc/mshare/regions.d/pgdata.conf
check 'a wrong file fails the unit' refused failed systemctl start mshare-region@pgdata
check 'and says the line' bash -c 'journalctl --sync; journalctl -u mshare-region@pgdata --no-pager | grep -q "pgdata.conf:2: Size=much"'
systemctl reset-failed mshare-region@pgdata
rm -f /etc/mshare/regions.d/pgdata.conf /run/systemd/system/db.service
systemctl daemon-reload

check 'a call starts the broker' bash -c "systemctl stop mshared; busctl call ${manager[*]} ListRegions && systemctl is-active mshared"
check 'its entries have an explanation' bash -c 'journalctl --update-catalog; journalctl --sync
        journalctl -x -u mshared --no-pager | grep -q "Subject: Region made has been created"'
check 'systemctl sets its log level' bash -c 'systemctl service-log-level mshared debug && [ "$(systemctl service-log-level mshared)" = debug ]'
check 'it is well confined' systemd-analyze security --threshold=15 mshared.service
check 'nothing is left' bash -c '[ -z "$(ls /sys/fs/mshare /run/mshared/regions /run/mshared/leases | grep -v :)" ]'
check 'no unit has failed' bash -c '! systemctl list-units --failed --no-legend --plain | grep mshare'
echo "1..$count"
