#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# "msharectl check" with an unmodified PostgreSQL: it passes if the server is in its region, and says what stands in the
# way if it is not. In the unit's drop-in it makes the start of an unshared server fail.
# limit: 1200
# follows: servers
# memory: 3072
# shellcheck disable=SC2012,SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

needs_mshare
version=$(basename "$(ls -d /usr/lib/postgresql/* | sort -V | tail -n 1)")
etc=/etc/postgresql/$version/main
unit=postgresql@$version-main.service
dropins=/etc/systemd/system/$unit.d
regions=/etc/mshare/regions.d
examples=/usr/share/doc/mshare/examples

on_failure() {
        tail -n 5 "/var/log/postgresql/postgresql-$version-main.log" 2> /dev/null | sed 's/^/# log: /'
        journalctl -b -o cat -n 15 -u "$unit" | sed 's/^/# journal: /'
}
postmaster() { head -n 1 "/var/lib/postgresql/$version/main/postmaster.pid"; }
is_sharer() { grep -q '/sys/fs/mshare/pgdata$' "/proc/$(postmaster)/maps"; }
# check_says STATUS WORDS ARGUMENTS...: msharectl check exits with that status and prints these words.
check_says() {
        local want=$1 words=$2 status=0
        shift 2
        msharectl check "$@" > "$out/said" 2>&1 || status=$?
        echo "status $status"
        cat "$out/said"
        [ "$status" = "$want" ] && grep -qE "$words" "$out/said"
}
# unshared WORDS [SETTING...]: with these settings in its unit, the server starts, and check prints these words. Or, if
# the library found a way, the server is in the region and check says that.
unshared() {
        local words=$1 setting
        shift
        printf '[Service]\n' > "$dropins/more.conf"
        for setting; do printf '%s\n' "$setting" >> "$dropins/more.conf"; done
        systemctl daemon-reload
        systemctl restart "$unit" || return
        if is_sharer; then
                echo 'it shares'
                check_says 0 'in region pgdata' "$unit" pgdata
        else
                check_says 1 "$words" "$unit" pgdata
        fi
}

systemctl enable --now mshared 2> /dev/null
if [ ! -d "$etc" ]; then pg_createcluster "$version" main > /dev/null; fi
sed -i 's/^#\? *shared_buffers = .*/shared_buffers = 128MB/' "$etc/postgresql.conf"
printf '%s\n' 'huge_pages = off' 'fsync = off' 'autovacuum = off' >> "$etc/postgresql.conf"
mkdir -p "$dropins" "$regions"
sed 's/^Size=.*/Size=256M/' "$examples/pgdata.conf" > $regions/pgdata.conf
cp "$examples/postgresql-mshare.conf" "$dropins/mshare.conf"
cp "$examples/postgresql-environment" "$etc/environment"
systemctl daemon-reload

# As shipped: the drop-in contains the check.
check 'the drop-in checks' grep -q '^ExecStartPost=.*msharectl check \$MAINPID pgdata$' "$dropins/mshare.conf"
check 'the server starts' systemctl start "$unit"
check 'in its region' is_sharer
check 'which the unit has said' bash -c "journalctl -b -o cat -u $unit | grep -q 'has its shared memory in region pgdata'"
check 'check by unit' check_says 0 "^Process [0-9]+ \\($unit\\) has its shared memory in region pgdata, at 0x[0-9a-f]+\\.$" "$unit" pgdata
check 'without suffix' check_says 0 'in region pgdata' "${unit%.service}" pgdata
check 'by process, in any region' check_says 0 'in region pgdata' "$(postmaster)"
check 'another region' bash -c 'msharectl create -q other 1M'
check 'is not the region that it is in' check_says 1 'does not have its shared memory in region other' "$unit" other
msharectl remove other
check 'a region that does not exist' check_says 3 "There is no region 'nowhere'" "$unit" nowhere
check 'a unit without a region' check_says 1 'libmshare-preload.so is not loaded' systemd-journald
check 'a unit that does not exist' check_says 1 'no unit nothing.service' nothing
check 'a process that others may not look at' bash -c "
        setpriv --reuid=65534 --regid=65534 --clear-groups msharectl check $(postmaster) pgdata; [ \$? = 4 ]"
check 'without the broker it is known, too' bash -c "
        systemctl stop mshared; systemctl mask --runtime -q mshared
        msharectl check $(postmaster) pgdata; r=\$?
        systemctl unmask --runtime -q mshared; systemctl start mshared; exit \$r"

# The kernel counts every process of the server as a sharer.
cgroup=$(systemctl show -P ControlGroup "$unit")
check 'the sharers are the processes of the unit' bash -c "
        msharectl clients pgdata --sharers --no-legend | awk '{print \$2}' | sort > $out/sharers
        sort /sys/fs/cgroup$cgroup/cgroup.procs > $out/procs
        diff $out/sharers $out/procs && [ \$(wc -l < $out/sharers) -ge 5 ]"
check 'with user, unit, access and command' bash -c "
        msharectl clients pgdata --sharers
        msharectl clients pgdata --sharers --no-legend | grep -Eq '^postgres +$(postmaster) +$unit +rw +postgres$'"
check 'as many as the kernel counts' bash -c '[ "$(wc -l < "$0")" = "$(msharectl show -p NSharers --value pgdata)" ]' "$out/sharers"
check 'to others they are hidden' bash -c '
        setpriv --reuid=65534 --regid=65534 --clear-groups msharectl clients pgdata --sharers 2>&1 |
                grep -E "^0 sharers|Processes of other users"'

# Every command shows the kernel's counts.
cat > "$out/figures.py" << 'PY'
import json, os, re, subprocess

def ctl(*words):
    return subprocess.run(("msharectl",) + words, check=True, capture_output=True, text=True).stdout

subprocess.run(["msharectl", "create", "-q", "figures", "8M", "--populate"], check=True)
fd = os.open("/sys/fs/mshare/figures", os.O_RDONLY)
with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as f:
    kernel = dict(re.findall(r"^mshare-([a-z-]+):\t(\d+)$", f.read(), re.M))
want = {"sharers": int(kernel["sharers"]), "resident": int(kernel["resident-kb"]) * 1024,
        "tables": int(kernel["pgtables-kb"]) * 1024}
show = json.loads(ctl("show", "figures", "--json=short"))
listed = {r["name"]: r for r in json.loads(ctl("list", "--json=short"))}["figures"]
top = {r["name"]: r for r in json.loads(ctl("top", "-n", "1", "--json=short"))}["figures"]
metrics = dict(re.findall(r'^mshare_region_(\w+){region="figures"} (\d+)$', ctl("metrics"), re.M))
seen = {
    "show": (show["NSharers"], show["ResidentBytes"], show["PageTableBytes"]),
    "list": (listed["sharers"], listed["resident"], listed["page_tables"]),
    "top": (top["sharers"], top["resident"], top["page_tables"]),
    "metrics": tuple(int(metrics[name]) for name in ("sharers", "resident_bytes", "page_table_bytes")),
}
print(kernel, seen)
assert want["resident"] == 8 << 20 and want["tables"] > 0
for where, figures in seen.items():
    assert figures == tuple(want.values()), where
subprocess.run(["msharectl", "remove", "figures"], check=True)
PY
check "the kernel's figures are the same in list, top, show and metrics" python3 "$out/figures.py"

# A server that is not in its region does not start.
sed -i '/LD_PRELOAD/d' "$etc/environment"
check 'without the library it does not start' bash -c "! systemctl restart $unit"
check 'and the unit says why' bash -c "journalctl -b -o cat -u $unit | grep -q 'libmshare-preload.so is not loaded'"

# Other obstacles: the server may continue, and check reports them.
cp "$examples/postgresql-environment" "$etc/environment"
echo "MSHARE_FALLBACK = 'yes'" >> "$etc/environment"
printf '[Unit]\nRequires=mshare-region@pgdata.service\nAfter=mshare-region@pgdata.service\n' > "$dropins/mshare.conf"
check 'a region that is too small' bash -c "
        sed -i 's/^Size=.*/Size=64M/' $regions/pgdata.conf && systemctl restart mshare-region@pgdata"
check 'is one' unshared "Region 'pgdata' is too small: it has 67108864 bytes"
sed -i 's/^Size=.*/Size=256M/; s/^User=.*/User=root/' $regions/pgdata.conf
systemctl stop "$unit" mshare-region@pgdata
check "another user's region" unshared "Mode 06[0-9]+ of region 'pgdata'.* does not admit postgres"
sed -i 's/^User=.*/User=postgres/' $regions/pgdata.conf
systemctl stop "$unit" mshare-region@pgdata
check 'LimitAS=' unshared 'address space is limited to 100G \(LimitAS=' LimitAS=100G
check 'a missing /sys' unshared 'does not see msharefs on /sys/fs/mshare, which it needs only if' InaccessiblePaths=/sys
check 'a read-only /sys' unshared '/sys/fs/mshare is read-only for the server, which needs it writable only if' ReadOnlyPaths=/sys
check 'a filter of system calls' unshared 'system call filter' SystemCallFilter=@system-service SystemCallErrorNumber=EPERM
rm "$dropins/more.conf"
sed -i 's/^shared_buffers = .*/shared_buffers = 16MB/' "$etc/postgresql.conf"
check 'too little memory' unshared 'no mapping that fits: .* at least 64M'
sed -i 's/^shared_buffers = .*/shared_buffers = 128MB/' "$etc/postgresql.conf"
echo "MSHARE_REGION = 'wrong'" >> "$etc/environment"
sed -i "0,/MSHARE_REGION = 'pgdata'/{//d}" "$etc/environment"
check 'another name' unshared "MSHARE_REGION in the server.s environment is 'wrong'|No obstacle was found"
check 'the broker' bash -c "
        systemctl stop mshared; systemctl mask --runtime -q mshared
        msharectl check $unit pgdata 2>&1 | grep -Eq 'The broker (is not running|does not answer: Unit .* failed)'; r=\$?
        systemctl unmask --runtime -q mshared; systemctl start mshared; exit \$r"
systemctl stop "$unit" mshare-region@pgdata

# What is mounted in its place later is another msharefs, with other regions, so this is last.
cp "$examples/postgresql-environment" "$etc/environment"
cp "$examples/postgresql-mshare.conf" "$dropins/mshare.conf"
systemctl daemon-reload
check 'the server starts' systemctl start "$unit"
check 'msharefs is unmounted below it' umount -l /sys/fs/mshare
check 'it is not there' bash -c '! mountpoint -q /sys/fs/mshare'
check 'the maps do not show the mount' bash -c "! grep -q /sys/fs/mshare /proc/$(postmaster)/maps"
check 'the server is in its region all the same' check_says 0 'in region pgdata, at 0x' "$unit" pgdata
check 'or in any' check_says 0 'in region pgdata, at 0x' "$(postmaster)"
check 'but in no other' check_says 1 'does not have its shared memory in region other' "$unit" other
check 'nor is another process' check_says 1 'msharefs is not mounted on /sys/fs/mshare\.' systemd-journald pgdata
check 'its sharers are its processes' bash -c "
        msharectl clients pgdata --sharers --no-legend | awk '{print \$2}' | sort > $out/sharers
        sort /sys/fs/cgroup$cgroup/cgroup.procs > $out/procs
        diff $out/sharers $out/procs && [ \$(wc -l < $out/sharers) -ge 5 ]"
check 'others are told that only root can see it' bash -c '
        setpriv --reuid=postgres --regid=postgres --clear-groups msharectl check "$0" pgdata 2>&1 |
                grep "msharefs is not mounted on /sys/fs/mshare, and without it only root can see"' "$(postmaster)"
systemctl stop "$unit"

echo "1..$count"
