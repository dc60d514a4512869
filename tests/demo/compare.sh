#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The demonstration, inside the systemd guest: an unmodified PostgreSQL twice,
# plain and in a region. The exit status is 0 only if the second run shared.
set -u
# shellcheck source=tests/demo/postgresql.sh
. "$(dirname "$0")/postgresql.sh"

connections=100 scale=2
# Progress of commands whose standard output is a file.
exec 3>&1
out=$(mktemp -d)
chmod 755 "$out"

title() { printf '\n=== %s\n\n' "$*"; }
progress() { printf '    [%3.0f s] %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"; }
# show COMMAND...: print it as a user would type it, with its output.
show() {
        printf '# '
        printf '%s ' "$@" | sed -E 's/(stua\{sv\}|sa\{sv\})/"\1"/; s/ $//'
        printf '\n'
        "$@" 2>&1 | sed 's/^/  /'
        return "${PIPESTATUS[0]}"
}
print() {
        printf '# cat %s\n' "$1"
        grep -v '^# SPDX' "$1" | sed 's/^/  /'
}
give_up() {
        printf '\nThe demonstration cannot go on: %s\n' "$*"
        journalctl -b -o cat -n 20 -u "$unit" -u mshared -u mshare-region@pgdata | sed 's/^/  | /'
        tail -n 20 "/var/log/postgresql/postgresql-$version-main.log" 2> /dev/null | sed 's/^/  | /'
        exit 1
}

# drive NAME ARGS...: put load on the running server; result in $out/NAME.json.
drive() {
        local name=$1
        shift
        server_warm || give_up 'the table cannot be read'
        resident=$(server_resident)
        progress "$((resident >> 20)) MiB of the table are in the shared buffers"
        as_postgres python3 "$here/load.py" "$connections" --steps 1,25,50,75 "$@" > "$out/$name.json" \
                2> >(while read -r line; do progress "$line" >&3; done) || give_up 'the connections failed'
        progress "pgbench -S with $connections clients"
        # A number of transactions, not a time: on a busy machine a short time is over before all clients are connected.
        as_postgres pgbench -n -S -c "$connections" -j 2 -t 40 > "$out/$name.pgbench" 2>&1 ||
                give_up "$(tail -n 3 "$out/$name.pgbench")"
        python3 - "$out/$name" << 'PY' || give_up "pgbench reports no result: $(tail -n 5 "$out/$name.pgbench")"
import json, re, sys
path = sys.argv[1]
text = open(path + ".pgbench").read()
run = json.load(open(path + ".json"))
run["pgbench_start"] = float(re.search(r"initial connection time = ([\d.]+) ms", text)[1]) / 1000
run["pgbench_tps"] = float(re.search(r"tps = ([\d.]+)", text)[1])
assert re.search(r"number of failed transactions: 0 ", text), text
json.dump(run, open(path + ".json", "w"))
PY
}

here=$(cd "$(dirname "$0")" && pwd)
missing=$(bash "$here/installed.bash") || give_up "the project is not installed as it should be:
$missing"
printf '\nDebian %s, Linux %s, PostgreSQL %s\n' "$(cat /etc/debian_version)" "$(uname -r)" \
        "$("/usr/lib/postgresql/$version/bin/postgres" --version | cut -d' ' -f3)"
title 'The broker'
show systemctl enable --now mshared || give_up 'the broker does not start'
show msharectl status

title 'A region by hand: one call on the bus'
show busctl call org.mshare1 /org/mshare1 org.mshare1.Manager CreateRegion 'stua{sv}' card 1073741824 0660 0 ||
        give_up 'the broker does not create a region'
show msharectl list
show busctl call org.mshare1 /org/mshare1 org.mshare1.Manager RemoveRegion 'sa{sv}' card 0 ||
        give_up 'the broker does not remove its region'

title "PostgreSQL $version as Debian ships it"
server_configure 384MB 150 off || give_up 'there is no cluster'
need=$(server_needs)
systemctl start "$unit" || give_up 'PostgreSQL does not start'
progress "filling a table of $((scale * 128)) MiB"
server_fill $scale || give_up 'the table cannot be filled'
query CHECKPOINT
systemctl restart "$unit" || give_up 'PostgreSQL does not start again'
drive plain
systemctl stop "$unit"

title 'The same server in a region'
server_join "$need" || give_up 'its unit cannot be set up'
print /etc/mshare/regions.d/pgdata.conf
print "/etc/systemd/system/$unit.d/mshare.conf"
print "$etc/environment"
show systemctl start "$unit" || give_up 'PostgreSQL does not start in the region'
postmaster=$(systemctl show -P MainPID "$unit")
show grep /sys/fs/mshare "/proc/$postmaster/maps" || give_up 'PostgreSQL is not in the region'
drive region --region pgdata
show msharectl status pgdata
show msharectl clients pgdata

title 'What it saves'
python3 "$here/table.py" "$out/plain.json" "$out/region.json" "$resident"
