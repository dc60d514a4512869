#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What msharectl promises to people and scripts, with the fake broker: msharectl.sh PATH-OF-MSHARECTL WINDOW-DOUBLE
# shellcheck disable=SC2015,SC2016,SC2317
set -u

# shellcheck source=tests/ctl/check.bash
. "$(dirname "$0")/check.bash"

# the options that the broker received, as the fake broker records them
options_are() {
        local name=$1 want=$2 got
        got=$(busctl --system get-property org.mshare1 "/org/mshare1/region/$name" org.mshare1.Region TestOptions)
        echo "$got"
        [ "$got" = "s \"$want\"" ]
}

create_with() {
        local name=$1 want=$2
        shift 2
        run 0 '' '' create -q "$name" 64M "$@" && options_are "$name" "$want" && run 0 '' '' remove "$name"
}

usage='msharectl: .* Try msharectl --help. '

check 'an empty list' run 0 '0 regions listed. ' ''
check 'an empty list without legend' run 0 '' '' --no-legend
check 'an empty list in JSON' json 'd == []' list --json=short
check 'create prints the address' run 0 'Created region pgdata: 300G at 0x2[0-9a-f]+\. ' '' create pgdata 300G
check 'list' run 0 'NAME +SIZE +RESIDENT +SHARERS +CLIENTS +TABLES +SAVED +MODE +OWNER +STATE pgdata +300G +5M +3 +0 +12K +24K +0600 [a-z0-9]+:root +ready  1 region listed\. ' '' list
check 'and the address, on demand' run 0 'NAME .* STATE +ADDRESS +WINDOW pgdata .* ready +0x2[0-9a-f]+ +300G  1 region .*' '' list --addresses
check 'without a command, it lists' run 0 'NAME .* 1 region listed\. ' ''
check 'no legend' run 0 'pgdata .* ready ' '' --no-legend list
check 'list in JSON' json 'len(d) == 1 and d[0]["size"] == 300 << 30 and d[0]["resident"] == 5 << 20 and d[0]["sharers"] == 3 and d[0]["page_tables"] == 12288 and d[0]["saved"] == 24576 and d[0]["name"] == "pgdata" and d[0]["length"] == 300 << 30 and d[0]["mode"] == 0o600 and d[0]["clients"] == 0 and d[0]["object"] == "/org/mshare1/region/pgdata" and d[0]["address"] >= 1 << 45' list --json=pretty
check 'pretty is indented' grep -q '^                "name" : "pgdata",$' "$out/json"
check 'short is one line' sh -c "'$ctl' --json=short | wc -l | grep -qx 1"
check 'off is text' run 0 'NAME .*' '' --json=off
check 'an existing name' run 1 '' 'msharectl: Cannot create the region: Region "pgdata" exists ' create pgdata 1G
check 'create in JSON' json 'd["name"] == "j" and d["object"] == "/org/mshare1/region/j" and d["length"] == 1 << 30 and d["address"] > 0' create j 1K --json=short
check 'a list is sorted' run 0 'j .* pgdata .*' '' list --no-legend
check 'by another column from the top' run 0 'pgdata .* j .*' '' list --no-legend --sort=size
check 'by an unknown column' run 2 '' "msharectl: Invalid --sort 'colour': expected one of name, .* " list --sort=colour
"$ctl" create -q listed 1M
check 'a mode with an access list has a plus' run 0 '.*listed .* 0600\+ .*' '' list
check 'the status has the list' run 0 '.* Mode: 0600\+ +Admits: user:1000:6 group:7:4 .*' '' status listed
check 'show has it' run 0 'user:1000:6 group:7:4 ' '' show -p Acl --value listed
check 'so has JSON' json 'd == {"Acl": [["user", 1000, 6], ["group", 7, 4]]}' show -p Acl --json=short listed
"$ctl" remove listed
check 'top' run 0 '[0-9:]{8}  2 regions, 6 sharers, page tables: 24K held once, 48K saved NAME +SIZE +RESIDENT +GROWTH/S +SHARERS .* SAVED +FAULTS/S +FLUSHES/S +STATE j +1K +5M +- +3 .* - +- +ready .*' '' top -n 1
check 'twice, with growth' run 0 '.*2 regions.* - .*  [0-9:]{8}  2 regions.* 5M +0B +3 .*' '' top --batch --iterations=2 --delay=100ms
check 'by name' run 0 'j .* pgdata .*' '' top -n 1 --sort=name --no-legend
check 'in JSON, a line each time' bash -c '"$0" top -n 3 -d 100ms --json=short | python3 -c "import json, sys; d = [json.loads(line) for line in sys.stdin]; assert len(d) == 3 and d[2][0][\"growth\"] == 0 and d[0][0][\"growth\"] is None and d[2][0][\"faults\"] in (None, 0)"' "$ctl"
check 'a delay that is too short' run 2 '' "msharectl: Invalid --delay '1ms': expected at least 100ms, as a number .*" top -d 1ms
check 'no number of iterations' run 2 '' "msharectl: Invalid --iterations '2K': expected a number above 0 " top -n 2K
check 'on a terminal it is redrawn, ordered by keys, and ends at q' python3 - "$ctl" <<'PY'
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "top", "-d", "200ms"])
shown, sent, deadline = b"", [], time.monotonic() + 30
while time.monotonic() < deadline:
    if select.select([fd], [], [], 0.1)[0]:
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        shown += data
    for number, key in ((1, b"n"), (3, b"q")):
        if shown.count(b"\x1b[H") >= number and key not in sent:
            os.write(fd, key)
            sent.append(key)
_, status = os.waitpid(pid, 0)
assert status == 0 and shown.count(b"\x1b[H") >= 3, (status, shown)
last = shown.split(b"\x1b[H")[-1]
assert last.index(b"\nj ") < last.index(b"\npgdata ") and b"(q quits)" in last, last
PY
check 'show' run 0 'Name=pgdata Address=[0-9]+ Length=322122547200 .* State=ready Progress=1 ' '' show pgdata
check 'some properties' run 0 'Name=pgdata Size=322122547200 State=ready ' '' show pgdata -p State,Name --property=Size
check 'their values' run 0 '322122547200 ready ' '' show -p Size -p State --value pgdata
check 'of several' run 0 'Name=j  Name=pgdata ' '' show -p Name j pgdata
check 'of the broker' run 0 'yes ' '' show -p KernelSupport --value
check 'an unknown property' run 1 '' "msharectl: There is no property 'Colour' " show -p Name,Colour pgdata
check 'show a missing region' run 3 '' '.*There is no region "z" ' show z
check 'remove several' run 0 '' '' remove j pgdata

check 'no options' create_with o ''
check 'mode is octal' sh -c "'$ctl' create -q m 1M --mode=640 && '$ctl' status m | grep -q 'Mode: 0640' && '$ctl' remove m"
check 'owner by name' create_with o 'uid=0 gid=1 ' --owner=root:daemon
check 'owner by number' create_with o 'uid=4000000000 gid=7 ' --owner=4000000000:7
check 'user alone takes the login group' create_with o 'uid=1 gid=1 ' --owner=daemon
check 'but not if it is a number' create_with o 'uid=1 ' --owner=1
check 'user and his group' create_with o 'uid=1 gid=1 ' --owner=daemon:
check 'group alone' create_with o 'gid=1 ' --owner=:daemon
check 'every backing' sh -ec "for b in anonymous memfd hugetlb empty; do '$ctl' create -q b 1M --backing=\$b; '$ctl' status b | grep -q \"Size: 1M, \$b\"; '$ctl' remove b; done"
touch "$out/file"
check 'a file is handed over open' create_with o "backing=file fd=0 " --backing=file "--file=$out/file"
check 'populate' create_with o 'populate=1 ' --populate
check 'maximum' create_with o 'maximum=1099511627776 ' --maximum=1T
check 'an invalid maximum' run 2 '' "msharectl: Invalid --maximum 'big': expected a number of bytes .*" create o 1M --maximum=big
"$ctl" create -q sized 1M
check 'resize' run 0 '' '' resize sized 2G
check 'the size' run 0 '2147483648 ' '' show -p Size --value sized
check 'without options' options_are sized ''
check 'resize with all options' run 0 '' '' resize sized 1M --force --populate
check 'the broker gets them' options_are sized 'force=1 populate=1 '
check 'an invalid size, a word' run 2 '' "msharectl: Invalid size 'much': expected a number of bytes .*" resize sized much
check 'resize a missing region' run 3 '' 'msharectl: Cannot resize the region: There is no region "z" ' resize z 1M
"$ctl" remove sized
check 'lifetime and linger' create_with o 'lifetime=while-leased linger=300000000 ' --lifetime=while-leased --linger=5min
check 'address' create_with o 'address=70368744177664 ' --address=0x400000000000
# Whether shared memory gets huge pages depends on this machine. The warning names the setting that denies them.
denied=
for file in hugepages-2048kB/shmem_enabled shmem_enabled; do
        file=/sys/kernel/mm/transparent_hugepage/$file
        [ -r "$file" ] && ! grep -qF '[inherit]' "$file" || continue
        if grep -qE '\[(never|deny)\]' "$file"; then
                denied="msharectl: Region o: it has no huge pages, because $file is '(never|deny)'; write 'advise' to that file, .* "
        fi
        break
done
check 'hugepages, even if the machine has none' run 0 '' "$denied" create -q o 64M --hugepages=always
check 'the broker gets the option in any case' options_are o 'hugepages=always '
"$ctl" remove o
check 'hugepages=never' create_with o 'hugepages=never ' --hugepages=never
check 'numa' create_with o 'numa=bind:0,2-3 ' --numa=bind:0,2-3
check 'label' create_with o 'label=f\303\274r \"Z\" ' '--label=für "Z"'

check 'a size of nothing' run 2 '' "msharectl: Invalid size '0': .* " create x 0
check 'a size with a wrong suffix' run 2 '' "msharectl: Invalid size '5X': .* " create x 5X
check 'a size beyond 64 bits' run 2 '' "msharectl: Invalid size '99999999T': .* " create x 99999999T
check 'a negative size' run 2 '' '.*option.*' create x -5
check 'a mode that is not octal' run 2 '' "msharectl: Invalid mode '888': .*0777 " create x 1M --mode=888
check 'a mode beyond 0777' run 2 '' "msharectl: Invalid mode '4755': .*0777 " create x 1M --mode=4755
check 'an unknown user' run 2 '' "msharectl: Owner 'no-such-user' .*does not exist " create x 1M --owner=no-such-user
check 'an owner in an invalid form' run 2 '' "msharectl: Invalid owner ':': expected USER, .*" create x 1M --owner=:
check 'the id that means none' run 2 '' "msharectl: Invalid owner '4294967295': .* " create x 1M --owner=4294967295
check 'an unknown backing' run 2 '' "msharectl: Invalid --backing 'tape': .* " create x 1M --backing=tape
check 'a file without its backing' run 2 '' 'msharectl: --backing=file and --file=PATH require each other ' create x 1M --file=/dev/null
check 'a file that does not exist' run 1 '' 'msharectl: Cannot open /nonexistent: No such file.* ' create x 1M --backing=file --file=/nonexistent
check 'an unknown lifetime' run 2 '' "msharectl: Invalid --lifetime 'long': .* " create x 1M --lifetime=long
check 'linger without its lifetime' run 2 '' 'msharectl: --linger= requires --lifetime=while-leased ' create x 1M --linger=5
check 'an invalid linger' run 2 '' "msharectl: Invalid --linger '5y': .* " create x 1M --lifetime=while-leased --linger=5y
check 'an address without 0x' run 2 '' "msharectl: Invalid --address '4000': .* " create x 1M --address=4000
check 'unknown hugepages' run 2 '' "msharectl: Invalid --hugepages 'some': .* " create x 1M --hugepages=some
check 'an unknown memory policy' run 2 '' "msharectl: Invalid --numa 'bind:2-1': expected .* bind:NODES, .* " create x 1M --numa=bind:2-1
check 'none of these created a region' run 0 '' '' list --no-legend

check 'an unknown command' run 2 '' "msharectl: There is no command 'frob' Try .*" frob
check 'an unknown option' run 2 '' '.*unrecognized option.* Try .*' --frob
check 'an option of another command' run 2 '' 'msharectl: remove has no option --populate Try .*' remove x --populate
check 'an invalid JSON mode' run 2 '' "msharectl: Invalid --json 'yes': .*Try .*" --json=yes
check 'too few arguments' run 2 '' 'msharectl: Too few arguments for create: expected NAME SIZE Try .*' create x
check 'too many arguments' run 2 '' 'msharectl: Too many arguments for clients: expected NAME Try .*' clients x y
check 'a command line for other commands than run' run 2 '' "$usage" list -- x
check 'run without a command' run 2 '' "$usage" run x
check 'help' run 0 'msharectl \[OPTIONS.* create NAME SIZE .*' '' --help
check 'the same as a command' run 0 'msharectl \[OPTIONS.* create NAME SIZE .*' '' help
check 'help for a command' run 0 'msharectl \[OPTIONS\.\.\.\] remove NAME\.\.\.  Remove regions\.  Options of remove: +--force .* Options: .*' '' help remove
check 'the same as an option' run 0 'msharectl \[OPTIONS\.\.\.\] remove NAME.*' '' remove --help
check 'help for an unknown command' run 2 '' ".*There is no command 'frob' " help frob
check 'version' run 0 'msharectl [0-9.]+ ' '' --version

"$ctl" create -q a 1M
"$ctl" create -q b 1G
check 'chmod several' run 0 '' '' chmod 0660 a b
check 'they have it' sh -c "'$ctl' --no-legend | grep -c ' 0660 ' | grep -qx 2"
check 'chmod continues after a missing region' run 3 '' 'msharectl: Cannot change the mode: There is no region "z" ' chmod 0666 z a
check 'and changes the other' sh -c "'$ctl' status a | grep -q 'Mode: 0666'"
check 'chown user' run 0 '' '' chown daemon a
check 'the group is as before' sh -c "'$ctl' status a | grep -q 'Owner: daemon:root'"
check 'chown group' run 0 '' '' chown :daemon a
check 'the user is as before' sh -c "'$ctl' status a | grep -q 'Owner: daemon:daemon'"
"$ctl" create -q moving 1M
check 'chown user, while another changes both' run 0 '' '' chown daemon moving
check 'the group is as the other has set it' sh -c "'$ctl' status moving | grep -q 'Owner: daemon:bin'"
check 'chown group, likewise' run 0 '' '' chown :daemon moving
check 'the user is as the other has set it' sh -c "'$ctl' status moving | grep -q 'Owner: bin:daemon'"
"$ctl" remove moving
check 'chown of a missing region' run 3 '' '.*There is no region "z" ' chown daemon z

check 'status of the broker' run 0 'mshared 0.1-fake +Kernel: has mshare, granule 1G +Regions: 2 +Clients: 0 +Page tables: 1M held once, 1M saved +Calls: 13, 4 answered with an error +polkit: questions: 11; 13 yes, 12 no, 12 failed, 14 timed out, 15 cancelled +: waiting calls: 2, total wait 1.5s ' '' status
check 'the same in JSON' json 'd["KernelSupport"] is True and d["NRegions"] == 2 and d["Granule"] == 1 << 30' status --json=short
"$ctl" create -q unmounted 1M
check 'status of a broker that cannot do anything' run 6 'mshared .*has mshare.* Unusable: msharefs is not mounted .*' '' status
check 'the same in JSON' run 6 '.*"KernelSupport":true.*' 'msharectl: msharefs is not mounted ' status --json=short
"$ctl" remove unmounted
check 'status of a region' run 0 'a +State: ready +Window: 1G at 0x2[0-9a-f]+ +Size: 1M, anonymous +Mode: 0666 .*Resident: 5M +Page tables: 12K held once, 24K saved +Lifetime: persistent +Created: [A-Z][a-z]{2} 20.*' '' status a
check 'the same in JSON' json 'd["Name"] == "a" and d["Size"] == 1 << 20 and d["Mode"] == 0o666 and d["Progress"] == 1' status a --json=pretty
"$ctl" create -q readonly 1M
check 'a region may be read-only for everyone' run 0 'readonly .*Mode: 0600 +Access: read-only for everyone, whatever the mode +Owner: .*' '' status readonly
"$ctl" remove readonly
check 'status of a missing region' run 3 '' '.*There is no region "z" ' status z

"$ctl" create -q hidden 1M
check 'the address of a region may be hidden' run 0 '.*hidden .* ready +- +- .*' '' list --addresses
check 'which is null in JSON' json '[r["address"] for r in d if r["name"] == "hidden"] == [None]' list --json=short

check 'check says what keeps a process out' run 1 '' 'msharectl: Process [0-9]+.* does not have its shared memory in region a .*msharefs is not mounted on /sys/fs/mshare\..* libmshare-preload.so is not loaded: .*no shared memory .*' check $$ a
check 'in any region' run 1 '' 'msharectl: Process [0-9]+.* does not have its shared memory in a region .*' check $$
check 'check in JSON' bash -c '! "$0" check $$ a --json=short >"$1" && python3 -c "import json, sys; d = json.load(open(sys.argv[1])); assert d[\"shared\"] is False and d[\"region\"] == \"a\" and d[\"address\"] is None and len(d[\"obstacles\"]) >= 3" "$1"' "$ctl" "$out/check"
# Any library with the name of the preload library.
cp "$(find /lib /usr/lib -name libm.so.6 | head -n 1)" "$out/libmshare-preload.so"
LD_PRELOAD="$out/libmshare-preload.so" MSHARE_REGION=$'\e[31mred' sleep 60 &
hostile=$!
sleep 0.2
check 'an environment cannot write to the terminal' run 1 '' ".*MSHARE_REGION in the server's environment is '\\\\x1b\\[31mred', not 'a'.*" check $hostile a
kill $hostile
# server MIB [SETTING...]: with these settings in its environment, a server has a window, $WINDOW, and that much memory outside.
server() {
        local mib=$1
        shift
        mkfifo "$out/window"
        env "$@" python3 - "$mib" >"$out/window" <<'PY' &
import mmap, os, re, sys, time
fd = os.memfd_create("window")
os.truncate(fd, 1 << 20)
window, outside = mmap.mmap(fd, 1 << 20), mmap.mmap(-1, int(sys.argv[1]) << 20 or mmap.PAGESIZE)
print(re.search(r"^(\S+) .*/memfd:window", open("/proc/self/maps").read(), re.M)[1], flush=True)
time.sleep(60)
PY
        server=$!
        read -r WINDOW <"$out/window"
        rm "$out/window"
        export WINDOW
}
# in_region STATUS STDOUT-PATTERN STDERR-PATTERN [OPTION...]: what check says about that server.
in_region() {
        local ctl=$out/with-double
        run "$1" "$2" "$3" check "$server" "${@:4}"
}
printf '#!/bin/sh\nLD_PRELOAD="%s" ASAN_OPTIONS=verify_asan_link_order=0 exec "%s" "$@"\n' "$(realpath "$2")" "$ctl" >"$out/with-double"
chmod +x "$out/with-double"
shares='Process [0-9]+.* has its shared memory in region .*, at 0x[0-9a-f]+\. '
outside='msharectl: Process [0-9]+.* is in region .*, but [0-9]+M of its shared memory is not: anonymous memory .*'
server 32
check 'a server in a region' in_region 0 "$shares" ''
check 'with memory outside that is too large' in_region 1 '' "$outside" --min-size=32M
kill $server
server 32 MSHARE_MIN_SIZE=8M
check 'or larger than the server itself allows' in_region 1 '' "$outside"
check 'which an option overrules' in_region 0 "$shares" '' --min-size=33M
kill $server
server 100 MSHARE_MIN_SIZE=256M
check 'a server that leaves larger memory outside on purpose' in_region 0 "$shares" ''
kill $server
server 100 MSHARE_MIN_SIZE=
check 'and one that does not say' in_region 1 '' "$outside"
kill $server
server 0 MSHARE_MIN_SIZE=1
check 'but a page, as each System V segment has one, is left outside always' in_region 0 "$shares" ''
kill $server
unset WINDOW
check 'a process that does not exist' run 1 '' 'msharectl: There is no process 4194305 ' check 4194305 a
check 'a number that cannot be a process' run 2 '' "msharectl: Invalid PID '99999999999': expected a number from 1 to 2147483647 " check 99999999999
check 'a name that no region can have' run 2 '' "msharectl: Invalid region name 'a/b': .* " check $$ a/b
check 'a unit without systemd' run 1 '' 'msharectl: Cannot find the process of unit nothing.service: .*' check nothing
check 'an invalid wait' run 2 '' "msharectl: Invalid --wait 'long': expected a number of seconds, .*" check $$ --wait=long
check 'no sharers without msharefs' run 6 '' '.*msharefs is not mounted.*' clients a --sharers
check 'nor a list of mappings' run 6 '' ".*mappings of region 'a': msharefs is not mounted.*" maps a
check 'which is of one region' run 2 '' '.*maps.*' maps a b
check 'with a name' run 2 '' ".*'a/b'.*" maps a/b
check 'no clients' run 0 '0 clients listed. ' '' clients a
check 'run gives region and library to the command' sh -c "'$ctl' run a -- sh -c 'echo \"\$MSHARE_REGION \$LD_PRELOAD\"' | grep -Eqx 'a /.*/libmshare-preload\.so'"
check 'LD_PRELOAD keeps its other entries' sh -c "ASAN_OPTIONS=verify_asan_link_order=0 LD_PRELOAD=libm.so.6 '$ctl' run a -- sh -c 'echo \"\$LD_PRELOAD\"' | grep -q 'libmshare-preload.so:libm.so.6\$'"
check 'run takes its options' sh -c "'$ctl' run a --fallback=yes --min-size=5M -- sh -c 'echo \"\$MSHARE_FALLBACK \$MSHARE_MIN_SIZE\"' | grep -qx 'yes 5M'"
check "the command's options are its own" sh -c "'$ctl' run a -- echo --json=x -q | grep -qx -- '--json=x -q'"
check "the command's status" run 7 '' '' run a -- sh -c 'exit 7'
check 'a command that does not exist' run 127 '' '.*Cannot run /nonexistent: No such.* ' run a -- /nonexistent
check 'a file that is not executable' run 126 '' '.*Cannot run /etc/passwd: Permission denied ' run a -- /etc/passwd
check 'run in a missing region' run 125 '' '.*There is no region "z" ' run z -- true
check 'or without it, if it may go on' run 0 'went on ' '.*There is no region "z" .*Continuing without the region because of --fallback=yes ' run --fallback=yes z -- sh -c 'echo "went on$MSHARE_REGION"'
check 'as the command it is' run 7 '' '.*Continuing .*' run --fallback=yes z -- sh -c 'exit 7'
check 'run with a wrong option' run 125 '' ".*Invalid --fallback 'maybe': expected yes or no " run a --fallback=maybe -- true

mkfifo "$out/go"
"$ctl" run a -- sh -c 'sleep 1000 & wait' <"$out/go" &
running=$!
exec 9>"$out/go"
clients_of_a() { "$ctl" clients a --no-legend | wc -l; }
wait_clients() {
        for _ in $(seq 100); do
                [ "$(clients_of_a)" = "$1" ] && return
                sleep 0.05
        done
        "$ctl" clients a
        return 1
}
check 'the lease is held while the command runs' wait_clients 1
check 'clients' run 0 'USER +PID UNIT +ACCESS SINCE [a-z]+ +[0-9]+ test.service rw +[A-Z].*  1 client listed\. ' '' clients a
check 'clients in JSON' json 'd[0]["pid"] == '"$running"' and d[0]["access"] == "rw" and d[0]["since"] > 1e15' clients a --json=short
check 'a busy region' run 1 '' 'msharectl: Cannot remove the region: Region "a" has 1 clients ' remove a
child=$(pgrep -P "$running" sleep)
kill "$running"
wait "$running" 2>/dev/null
check 'and by what it started, when it has ended' wait_clients 1
kill "$child"
check 'and no longer' wait_clients 0
exec 9>&-

"$ctl" monitor >"$out/events" 2>"$out/monitor.err" </dev/null &
monitor=$!
"$ctl" monitor c --json=short >"$out/events.json" </dev/null &
monitor_json=$!
for _ in $(seq 100); do
        "$ctl" create -q probe 1M && "$ctl" remove probe
        grep -q probe "$out/events" && break
        sleep 0.05
done
# The second one watches only c: use that to see that it is ready.
for _ in $(seq 100); do
        "$ctl" create -q c 1M
        "$ctl" run c -- true
        "$ctl" remove --force c
        grep -q RegionRemoved "$out/events.json" && break
        sleep 0.05
done
sleep 0.2
# Every user can send each connection signals with the broker's names.
forge_signals() {
        local name
        for name in $(dbus-send --bus="$DBUS_SYSTEM_BUS_ADDRESS" --print-reply --dest=org.freedesktop.DBus / \
                org.freedesktop.DBus.ListNames | sed -n 's/.*"\(:[^"]*\)".*/\1/p'); do
                dbus-send --bus="$DBUS_SYSTEM_BUS_ADDRESS" --type=signal --dest="$name" /org/mshare1 \
                        org.mshare1.Manager.RegionAdded string:forged objpath:/org/mshare1/region/forged || return 1
                dbus-send --bus="$DBUS_SYSTEM_BUS_ADDRESS" --type=signal --dest="$name" /org/freedesktop/DBus \
                        org.freedesktop.DBus.NameOwnerChanged string:org.mshare1 string:"$name" string: || return 1
        done
}
check 'signals that are not the broker'"'"'s' forge_signals
sleep 0.5
check 'are not reported' sh -c "! grep -E 'forged|BrokerStopped' '$out/events' '$out/events.json'"
kill "$monitor" "$monitor_json"
check 'monitor ends well' wait "$monitor"
check 'so does the other' wait "$monitor_json"
stamp='20[0-9-]+ [0-9:]+\.[0-9]{6}'
check 'monitor reports new regions' grep -Eqx "$stamp RegionAdded c" "$out/events"
check 'of new clients' grep -Eqx "$stamp ClientAcquired c $(id -un)" "$out/events"
check 'of clients that left' grep -Eqx "$stamp ClientReleased c $(id -un)" "$out/events"
check 'of regions that went' grep -Eqx "$stamp RegionRemoved c" "$out/events"
check 'a line of JSON for each event of the watched regions' python3 - "$out/events.json" <<'PY'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
assert events and all(e["region"] == "c" and e["usec"] > 1e15 for e in events), events
assert all(("uid" in e) == e["event"].startswith("Client") for e in events), events
assert {"RegionAdded", "ClientAcquired", "RegionRemoved"} <= {e["event"] for e in events}, events
PY

check 'a question is asked only if it may be' run 4 '' '.*A password is needed ' create askpass 1M --no-ask-password
check 'and by default it may' run 0 '' '' create -q askpass 1M
# interrupted SIGNAL ARGUMENTS...: that signal ends msharectl a second after its start.
interrupted() {
        local signal=$1 pid status=0
        shift
        "$ctl" "$@" </dev/null 2>"$out/stderr" &
        pid=$!
        sleep 1
        kill "-$signal" "$pid"
        wait "$pid" || status=$?
        echo "status $status"
        cat "$out/stderr"
        grep -q "Interrupted while waiting for the broker's answer" "$out/stderr" && [ "$status" = $((128 + $(kill -l "$signal"))) ]
}
"$ctl" create -q asking 1M
check 'create can be interrupted before there is anything' interrupted INT create asking 1M
check 'by SIGTERM as well' interrupted TERM create asking 1M
check 'and leaves alone what it did not make' run 0 '.*asking .*' '' list --no-legend
"$ctl" remove asking
check 'a kernel without mshare' run 6 '' '.*This kernel has no mshare ' create unsupported 1M
check 'a text that is not UTF-8' run 1 '' '.*UTF-8 ' create $'\xff' 1M
check 'a reader that leaves' sh -c "'$ctl' --json=pretty | true"
check 'a full disk is reported' sh -c "! '$ctl' list >/dev/full"

# The ssh here is a stand-in that leads to this bus. The other end takes no address except on its command line.
mkdir "$out/bin"
printf '#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; case $1 in *far.example) exec systemd-stdio-bridge -p "$DBUS_SYSTEM_BUS_ADDRESS" ;; esac; done\nexit 255\n' > "$out/bin/ssh"
chmod +x "$out/bin/ssh"
far() { PATH="$out/bin:$PATH" run "$@"; }
"$ctl" create -q distant 1M
check 'the broker of another host' far 0 '.*distant +1M .* 0600 [0-9]+:[0-9]+ +ready .*' '' -H far.example list
check 'and its properties' far 0 '1048576 ' '' show -p Size --value distant --host=me@far.example
check 'a host that does not answer' far 5 '' '.*' -H near.example list
check 'owners there are numbers' far 2 '' ".*Invalid owner 'root:': expected numbers, because names may differ with --host and --machine " -H far.example create x 1M --owner=root:
check 'processes are here' far 2 '' '.*check does not support --host: it works only on this machine .*' -H far.example check 1
check 'and what is mapped' far 2 '' '.*maps does not support --host.*' -H far.example maps distant
check 'and sharers' far 2 '' '.*--sharers and --machine cannot be combined .*' -M box clients distant --sharers
check 'one place at a time' far 2 '' '.*--host and --machine cannot be combined .*' -H far.example -M box list
check 'no such container' run 5 '' '.*Cannot connect to the system bus of nowhere-at-all: .*' -M nowhere-at-all list
"$ctl" remove distant

check 'no bus' env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent bash -c '"$0" list 2>&1 | grep -q "Cannot connect to the system bus"; exit $((${PIPESTATUS[0]} != 5))' "$ctl"
broker=$(readlink "/proc/$FAKE_BROKER_PID/exe")
"$ctl" monitor pgdata >"$out/events" 2>/dev/null </dev/null &
monitor=$!
"$ctl" monitor --json=short >"$out/events.json" 2>/dev/null </dev/null &
monitor_json=$!
# Both report the broker once they listen.
for _ in $(seq 100); do
        "$ctl" create -q pgdata 1M && "$ctl" remove pgdata
        grep -q pgdata "$out/events" && grep -q pgdata "$out/events.json" && break
        sleep 0.05
done
kill -STOP "$FAKE_BROKER_PID"
started=$SECONDS
export SYSTEMD_BUS_TIMEOUT=1s
check 'a broker that hangs' run 5 '' '.*Cannot create the region: the broker did not answer ' create x 1M
unset SYSTEMD_BUS_TIMEOUT
check 'is not waited for without end' [ $((SECONDS - started)) -le 30 ]
started=$SECONDS
check 'nor is it if create is interrupted' interrupted INT create x 1M
check 'which ends soon' [ $((SECONDS - started)) -le 15 ]
kill -CONT "$FAKE_BROKER_PID"
kill "$FAKE_BROKER_PID"
sleep 0.2
check 'run without a broker' run 125 '' '.*' run a -- echo went on
check 'or without it, if it may go on' run 0 'went on ' '.*Continuing without the region because of --fallback=yes ' run --fallback=yes a -- echo went on
check 'no broker' run 5 '' '.*the broker is not running \(systemctl start mshared\) ' list
check 'monitor reports its end, whatever names are watched' grep -Eqx "$stamp BrokerStopped" "$out/events"
"$broker" "$FAKE_MSHARE" >"$out/ready" &
again=$!
for _ in $(seq 100); do
        grep -q ready "$out/ready" && break
        sleep 0.05
done
sleep 0.2
check 'and of its start' grep -Eqx "$stamp BrokerStarted" "$out/events"
"$ctl" create -q pgdata 1M
sleep 0.2
check 'and goes on' sh -c "sed -n '/BrokerStarted/,\$p' '$out/events' | grep -q 'RegionAdded pgdata'"
kill "$monitor" "$monitor_json"
check 'monitor outlives the broker' wait "$monitor"
check 'so does the other' wait "$monitor_json"
check 'in JSON these have no region' python3 - "$out/events.json" <<'PY'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1])]
own = [e for e in events if e["event"].startswith("Broker")]
assert [e["event"] for e in own] == ["BrokerStopped", "BrokerStarted"], events
assert all(set(e) == {"usec", "event"} and e["usec"] > 1e15 for e in own), events
PY
kill "$again"

echo "1..$count"
exit $failed
