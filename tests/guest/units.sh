#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What mshared(8) says to authors of units: what a client's unit must permit, and how a restart of the broker affects
# units.
# limit: 1200
# follows: broker-storm
# long-kernel: debug
# long-limit: 900
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

client=/usr/libexec/mshare/tests/guest-client
access=rw
user=user1000
by=library
main_pid() { systemctl show -P MainPID "$1"; }
# The answers to a client that acquires the region, writes and reads, in a unit of its own with these settings.
client_in() { # client_in SETTING...
        local settings=()
        while [ $# -gt 0 ]; do
                settings+=(-p "$1")
                shift
        done
        [ -z "$user" ] || settings+=(-p "User=$user")
        {
                if [ $by = name ]; then
                        echo "raw shared $access $(window)"
                else
                        echo "acquire shared $access"
                fi
                [ "$access" = r ] || echo 'put 4096 word'
                echo 'get 4096'
        } | systemd-run --quiet --pipe --wait --collect "${settings[@]}" $client
}
# Address and length of the region, from its own file.
window() { python3 -c 'import struct; print("%#x %#x" % struct.unpack("<QQ", open("/sys/fs/mshare/shared", "rb").read()))'; }
works() { # works SETTING...
        client_in "$@" | tee "$out/said"
        [ "$(tail -n 1 "$out/said")" = 'ok word' ]
}
fails() { # fails TEXT SETTING...
        local text=$1
        shift
        client_in "$@" | tee "$out/said"
        grep -q "^error .*$text" "$out/said"
}

call() { timeout 20 busctl call org.mshare1 /org/mshare1 org.mshare1.Manager "$@"; } # call METHOD SIGNATURE ARGUMENTS...
limit() { busctl get-property org.mshare1 /org/mshare1 org.mshare1.Manager "$1"; }

systemctl disable --now mshared 2> /dev/null
check 'a call to a broker that is not enabled is not left waiting' sh -c \
        'timeout 20 busctl call org.mshare1 /org/mshare1 org.mshare1.Manager ListRegions; r=$?; [ $r != 0 ] && [ $r != 124 ]'
check 'systemctl enable' systemctl enable --no-reload mshared
check 'makes the name that the bus starts it by' sh -c \
        '[ "$(readlink -f /etc/systemd/system/dbus-org.mshare1.service)" = /usr/lib/systemd/system/mshared.service ]'
systemctl disable --no-reload mshared 2> /dev/null
check 'as the preset has it' sh -c 'systemctl preset mshared && systemctl is-enabled mshared'
check 'a call starts it' call ListRegions
mkdir -p /etc/mshare/mshared.conf.d
printf '[Limits]\nRegionsMax=7\n' > /etc/mshare/mshared.conf.d/10-test.conf
check 'systemctl reload' systemctl reload mshared
check 'reads its settings' is 't 7' limit RegionsMax
rm /etc/mshare/mshared.conf.d/10-test.conf
check 'again' systemctl reload mshared
check 'and again' is 't 1024' limit RegionsMax

if [ "$MSHARE_PATCHED" = yes ]; then
        check 'a region' msharectl create shared 64M --owner=1000:1000
        # A root directory for a unit: the content of /usr, and places for the rest.
        mkdir -p /run/root/{usr,etc,proc,sys,dev,tmp,run/dbus,var}
        for dir in bin lib lib64 sbin; do ln -s usr/$dir /run/root/$dir; done
        touch /run/root/run/dbus/system_bus_socket
        check 'a client in a unit' works
        check 'a read-only /sys does not matter' works ProtectKernelTunables=yes ReadOnlyPaths=/sys
        check 'nor does a hidden one' works InaccessiblePaths=/sys
        check 'nor does a list of allowed system calls that kills on others' works SystemCallFilter=@system-service
        check 'all of that at once, and more' works SystemCallFilter=@system-service SystemCallArchitectures=native \
                ProtectSystem=strict ProtectKernelTunables=yes ProtectProc=invisible ProcSubset=pid PrivateDevices=yes \
                PrivateNetwork=yes RestrictAddressFamilies=AF_UNIX MemoryDenyWriteExecute=yes RestrictNamespaces=yes \
                CapabilityBoundingSet= NoNewPrivileges=yes LockPersonality=yes
        check 'a root directory of its own, with the bus in it' works RootDirectory=/run/root MountAPIVFS=yes \
                'BindReadOnlyPaths=/usr /run/dbus/system_bus_socket'
        check 'where msharefs is not' works RootDirectory=/run/root 'BindReadOnlyPaths=/usr /run/dbus/system_bus_socket' \
                'BindPaths=/proc'

        # By name with mshare(2), as programs without the library do it.
        by=name
        check 'by name, a list of what is denied lets mshare() through' works 'SystemCallFilter=~@mount @clock' NoNewPrivileges=yes
        # For calls that it does not know, systemd 252 has the unit's errno, and 257 its own.
        check 'a list of what is allowed does not' fails '\(1\|38\) ' SystemCallFilter=@system-service SystemCallErrorNumber=EPERM
        check 'whatever its errno' fails '38 ' SystemCallFilter=@system-service SystemCallErrorNumber=ENOSYS
        # systemd 257 leaves /sys writable with ProtectKernelTunables=.
        check 'a read-only /sys keeps out a writer' fails '30 ' ReadOnlyPaths=/sys
        access=r check 'not who reads' works ReadOnlyPaths=/sys
        check 'and one with a writable /sys' works ReadOnlyPaths=/sys ReadWritePaths=/sys/fs/mshare
        check 'with the tunables protected as well' works ProtectKernelTunables=yes ReadWritePaths=/sys/fs/mshare
        by=library
        check 'a refused process is not a client' is 0 sh -c 'msharectl clients shared --no-legend | wc -l'
        check 'it goes' msharectl remove shared
fi

# No default window is where a process has mappings, whatever the range of the kernel's randomization and the layout.
layouts() {
        local _
        for _ in $(seq 15); do
                cat /proc/self/maps
                setarch -L cat /proc/self/maps
                (ulimit -s unlimited && cat /proc/self/maps)
        done
}
no_collision() {
        layouts > "$out/maps"
        busctl -j call org.mshare1 /org/mshare1 org.mshare1.Manager ListRegions > "$out/regions"
        python3 - "$out/maps" "$out/regions" << 'PY'
import json, sys
windows = [(row[2], row[2] + row[3]) for row in json.load(open(sys.argv[2]))["data"][0]]
assert sum(end - start for start, end in windows) == 85 << 39, windows
seen = set()
for line in open(sys.argv[1]):
    low, high = (int(x, 16) for x in line.split()[0].split("-"))
    seen.add(low >> 40)
    assert not any(low < end and start < high for start, end in windows), (line, windows)
# The last line is the vsyscall page, above user memory.
print("mappings in these TiB:", sorted(seen)[:-1])
assert min(seen) < 22 and any(42 <= x < 59 for x in seen) and any(85 <= x < 102 for x in seen), seen
PY
}
if [ "$MSHARE_PATCHED" = yes ]; then
        check 'the widest address space randomization' sh -c 'echo 32 > /proc/sys/vm/mmap_rnd_bits'
        # All of the default addresses.
        for spans in 42 34 9; do
                check "a window of $spans times 512 GiB" call CreateRegion 'stua{sv}' w$spans $((spans << 39)) 384 1 backing s empty
        done
        check 'is the last' sh -c "busctl call org.mshare1 /org/mshare1 org.mshare1.Manager CreateRegion 'stua{sv}' w 4096 384 0 2>&1 |
                grep 'No window of'"
        check 'none is in the way of any process' no_collision
        check 'they go' msharectl remove w42 w34 w9
fi

for how in Wants Requires; do
        printf '[Unit]\n%s=mshared.service\nAfter=mshared.service\n[Service]\nExecStart=sleep infinity\n' $how \
                > "/run/systemd/system/db-$how.service"
done
systemctl daemon-reload
check 'units that want and require the broker start' systemctl start db-Wants db-Requires
wants=$(main_pid db-Wants) requires=$(main_pid db-Requires)
check 'its restart' systemctl restart mshared
check 'does not restart the unit that wants it' is "$wants" main_pid db-Wants
restarted() { [ "$(main_pid db-Requires)" != "$requires" ] && systemctl is-active db-Requires; }
check 'and restarts the unit that requires it' is active restarted
requires=$(main_pid db-Requires)
check 'its death' kill -9 "$(main_pid mshared)"
check 'from which it is back at once' is active systemctl is-active mshared
check 'is one, too' is active restarted
check 'and does not affect the unit that wants it' is "$wants" main_pid db-Wants
systemctl stop db-Wants db-Requires
rm -f /run/systemd/system/db-{Wants,Requires}.service
systemctl daemon-reload

# Numbers for the textfile collector of node_exporter: the unit writes them, and the timer starts it again and again.
collector=/var/lib/prometheus/node-exporter
check 'without the collector there is nothing to write' systemctl start mshare-metrics.service
check 'and its unit says so' is no systemctl show -P ConditionResult mshare-metrics.service
mkdir -p $collector
check 'the timer of the figures' systemctl start mshare-metrics.timer
check 'has them written' is 1 grep -c '^mshare_up 1$' $collector/mshare.prom
check 'for all to read' is '644 root root' stat -c '%a %U %G' $collector/mshare.prom
check 'all of them' is '# EOF' tail -n 1 $collector/mshare.prom
check 'and nothing else' is mshare.prom ls -A $collector
rm -f $collector/mshare.prom
check 'again' is active systemctl is-active mshare-metrics.timer
check 'and again' sh -c "for _ in \$(seq 60); do [ ! -s $collector/mshare.prom ] || exit 0; sleep 1; done; exit 1"
systemctl stop mshare-metrics.timer
rm -r /var/lib/prometheus

# A region's unit follows its region, and ends while broker and bus still exist.
if [ "$MSHARE_PATCHED" = yes ]; then
        inactive() { ! systemctl is-active mshare-region@pgdata; }
        region_is_gone() { ! [ -e /sys/fs/mshare/pgdata ]; }
        printf '[Region]\nSize=64M\nUser=postgres\n' > /etc/mshare/regions.d/pgdata.conf
        check 'a region unit' systemctl start mshare-region@pgdata
        check 'has a process' sh -c '[ "$(systemctl show -P MainPID mshare-region@pgdata)" != 0 ]'
        status() { systemctl show -P StatusText mshare-region@pgdata; }
        check 'whose status are the figures' is '64M, 0B resident, 0 sharers, page tables: 8K held once, 0B saved' status
        check 'as systemctl shows them' sh -c 'systemctl status mshare-region@pgdata | grep "Status: \"64M, 0B resident, 0 sharers"'
        check 'a restart of the broker' systemctl restart mshared
        check 'is none of it' is active systemctl is-active mshare-region@pgdata
        check 'its region removed by hand' msharectl remove pgdata
        check 'it ends' is inactive systemctl is-active mshare-region@pgdata
        printf '[Unit]\nRequires=mshare-region@pgdata.service\nAfter=mshare-region@pgdata.service\n[Service]\nExecStart=sleep infinity\n' \
                > /run/systemd/system/db.service
        systemctl daemon-reload
        check 'a database that requires it starts' systemctl start db
        check 'with a new one' test -e /sys/fs/mshare/pgdata
        check 'the region removed by force' msharectl remove --force pgdata
        check 'is not the end of the database' is active systemctl is-active db
        check 'but its next start' systemctl restart db
        check 'makes the region again' test -e /sys/fs/mshare/pgdata
        systemctl stop db

        for verb in stop restart; do
                check "the mount is not for $verb by hand" sh -c "systemctl $verb sys-fs-mshare.mount 2>&1 | grep 'may be requested by dependency only'"
        done
        check 'and regions are where they were' test -e /sys/fs/mshare/pgdata

        mkdir -p /run/systemd/system/mshare-guest.service.d
        printf '[Unit]\nIgnoreOnIsolate=yes\n' > /run/systemd/system/mshare-guest.service.d/isolate.conf
        systemctl daemon-reload
        check 'another target is isolated' systemctl isolate rescue.target
        check 'the region unit has ended' is inactive systemctl is-active mshare-region@pgdata
        check 'the broker as well' is inactive systemctl is-active mshared
        check 'the region is gone' region_is_gone
        check 'and nothing has failed' sh -c '! systemctl is-failed mshare-region@pgdata mshared'
        check 'back again' systemctl isolate multi-user.target
        check 'the region unit starts' systemctl start mshare-region@pgdata
        check 'and stops' systemctl stop mshare-region@pgdata
        check 'with its region' region_is_gone

        # A unit that is killed while it populates.
        printf '[Region]\nSize=600M\nMode=0660\nUser=postgres\nPopulate=yes\n' > /etc/mshare/regions.d/killed.conf
        owner_and_mode() { stat -c '%U %a' /sys/fs/mshare/killed 2>&1; }
        # The unit's process has started the one that populates.
        is_closed() { [ "$(owner_and_mode)" = "$1 0" ] && [ "$(pgrep -fc 'mshare-region run killed$')" = 2 ]; }
        # Both processes wait, so that the memory is not populated before they are killed.
        hold() { # hold OWNER
                systemctl start --no-block mshare-region@killed
                for _ in $(seq 600); do
                        if is_closed "$1"; then
                                systemctl kill --signal=STOP mshare-region@killed
                                is_closed "$1"
                                return
                        fi
                        sleep 0.02
                done
                return 1
        }
        check 'a unit that populates' hold postgres
        check 'early clients are told so' refused 'being populated' call AcquireRegion 'ssa{sv}' killed rw 0
        check 'it is killed' systemctl kill --signal=KILL mshare-region@killed
        check 'and has failed' is failed systemctl is-active mshare-region@killed
        check 'the region is gone' is "stat: cannot statx '/sys/fs/mshare/killed': No such file or directory" owner_and_mode
        systemctl reset-failed mshare-region@killed
        check 'a region of root' msharectl create killed 600M --mode=0640 --owner=root:postgres
        check 'a unit that takes it over' hold postgres
        systemctl kill --signal=KILL mshare-region@killed
        check 'is killed' is failed systemctl is-active mshare-region@killed
        check 'and the region is as it was' is 'root 640' owner_and_mode
        check 'which the journal explains' sh -c 'journalctl -b -x -u mshared | grep -A4 "now has owner 0:$(id -g postgres) and mode 0640" |
                grep "Subject: Region killed was not populated: the process has ended"'
        systemctl reset-failed mshare-region@killed
        check 'the next start takes it over' systemctl start mshare-region@killed
        check 'as declared' is 'postgres 660' owner_and_mode
        systemctl stop mshare-region@killed
        rm -f /etc/mshare/regions.d/killed.conf

        # Each change is in the journal, with who made it, and with an explanation.
        as_user() { setpriv --reuid=1000 --regid=1000 --clear-groups "$@"; }
        msharectl create -q audited 1M --owner=1000:1000 --maximum=2M
        as_user msharectl chmod 0400 audited
        msharectl resize -q audited 2M
        msharectl chmod 0600 audited
        setfacl -m u:games:rw /sys/fs/mshare/audited 2> /dev/null || python3 -c '
import os, struct
os.setxattr("/sys/fs/mshare/audited", "system.posix_acl_access", struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *e) for e in ((1, 6, 2**32 - 1), (2, 6, 5), (4, 0, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1))))'
        check 'who is in the access list is shown' sh -c 'msharectl status audited | grep -E "Admits: +user:5:6"'
        check 'and can be taken out' busctl call org.mshare1 /org/mshare1/region/audited org.mshare1.Region Revoke su user 5
        check 'and is then not shown' sh -c '! msharectl status audited | grep Admits'
        as_user msharectl remove audited
        msharectl create -q audited 1M
        msharectl chown games audited
        msharectl remove audited
        cat > "$out/audit.py" << 'PY'
import json, re, subprocess, sys
ids = dict(re.findall(r"^-- ([0-9a-f]{32})\nSubject: (.*)$", open("/usr/lib/systemd/catalog/mshared.catalog").read(), re.M))
entries = [json.loads(line) for line in subprocess.run(
    ["journalctl", "-b", "-u", "mshared", "-o", "json", "MSHARE_REGION=audited"], capture_output=True, text=True).stdout.splitlines()]
seen = [(ids[e["MESSAGE_ID"]].replace("@MSHARE_REGION@", "audited"), e.get("MSHARE_CALLER_UID"), e.get("MSHARE_CALLER_PID", "0") != "0",
         e.get("MSHARE_CALLER_UNIT")) for e in entries]
print(*seen, sep="\n")
unit = "mshare-guest.service"
changes = [("has been created", "0"), ("mode of", "1000"), ("size of", "0"), ("mode of", "0"), ("was changed in msharefs", None),
           ("no longer admitted", "0"), ("has been removed", "1000"), ("has been created", "0"), ("another owner", "0"),
           ("has been removed", "0")]
assert len(seen) == len(changes), len(seen)
for (subject, uid, pid, of), (words, who) in zip(seen, changes):
    assert words in subject and uid == who and pid == (who is not None) and of == (unit if who else None), (subject, words)
PY
        journalctl --sync
        check 'all changes are in the journal' python3 "$out/audit.py"

        printf '[Region]\nSize=8M\nHugePages=always\n' > /etc/mshare/regions.d/huge.conf
        for setting in never advise; do
                echo $setting > /sys/kernel/mm/transparent_hugepage/shmem_enabled
                check "a region with huge pages where the system says $setting" systemctl start mshare-region@huge
                systemctl stop mshare-region@huge
        done
        check 'says what stands in the way, and only then' is 1 sh -c "journalctl -b -o cat -u mshare-region@huge |
                grep -c \"Region huge: it has no huge pages, because .*/shmem_enabled is 'never'; write 'advise' to that file\""
        printf '[Region]\nSize=8M\nUser=postgres\nBacking=file\nPath=/usr/share/mshare-test-file\n' > /etc/mshare/regions.d/ro.conf
        truncate -s 8M /usr/share/mshare-test-file
        chattr +i /usr/share/mshare-test-file 2> /dev/null || mount --bind -o ro /usr/share/mshare-test-file /usr/share/mshare-test-file
        check 'a file that may only be read backs a region' systemctl start mshare-region@ro
        check 'which is there' test -e /sys/fs/mshare/ro
        systemctl stop mshare-region@ro
        version=$(basename "$(dirname "$(dirname "$(printf "%s\n" /usr/lib/postgresql/*/bin/postgres | tail -n 1)")")")
        [ -d "/etc/postgresql/$version/main" ] || pg_createcluster "$version" main > /dev/null
        printf '[Region]\nSize=auto\nFor=postgresql:%s/main\nUser=postgres\n' "$version" > /etc/mshare/regions.d/auto.conf
        if [ "$version" -ge 15 ]; then
                need=$(setpriv --reuid=postgres --regid=postgres --init-groups "/usr/lib/postgresql/$version/bin/postgres" \
                        -D "/etc/postgresql/$version/main" -C shared_memory_size)
                check 'a region as large as PostgreSQL needs' systemctl start mshare-region@auto
                check 'and a tenth more' is "t $(((need + need / 10 + 1) << 20))" busctl get-property org.mshare1 \
                        /org/mshare1/region/auto org.mshare1.Region Size
                systemctl stop mshare-region@auto
        fi
        rm -f /etc/mshare/regions.d/{pgdata,ro,auto,huge}.conf /run/systemd/system/db.service
        systemctl daemon-reload
fi

# dbus-daemon refuses dynamic users, dbus-broker does not. This is at the end of the script, because the bus is
# replaced.
if [ "$MSHARE_PATCHED" = yes ]; then
        check "a group's region" msharectl create shared 64M --mode=0660 --owner=root:mail
        told() { works "$@" || grep -q '^error 107 .*DynamicUser=' "$out/said"; }
        user='' check 'a dynamic user gets an explanation of the refusal' told DynamicUser=yes SupplementaryGroups=mail
        systemctl enable dbus-broker.service 2> /dev/null
        systemctl daemon-reload
        systemctl stop dbus.service 2> /dev/null
        check 'another bus' systemctl start dbus.socket dbus.service
        check 'is dbus-broker' is dbus-broker.service systemctl show -P Id dbus.service
        check 'the broker is on it' systemctl restart mshared
        user='' check 'a dynamic user of that group gets it' works DynamicUser=yes SupplementaryGroups=mail
        user='' check 'and no other' fails '13 ' DynamicUser=yes
fi
echo "1..$count"
