#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The broker is killed, or restarted, at random moments while processes come and go. After each time its books
# agree with the kernel's. MSHARE_STORM_ROUNDS and MSHARE_STORM_PROCESSES: how often, how many.
# limit: 600
# shellcheck disable=SC2016
set -u

rounds=${MSHARE_STORM_ROUNDS:-10}
n=${MSHARE_STORM_PROCESSES:-100}
storm=/usr/libexec/mshare/tests/broker-storm
out=$(mktemp -d)

if [ "$MSHARE_PATCHED" != yes ]; then
        echo '1..0 # SKIP the kernel has no mshare'
        exit 0
fi
if [ ! -x $storm ]; then
        echo "1..0 # SKIP $storm is not installed"
        exit 0
fi
property() { # property NAME
        busctl get-property org.mshare1 /org/mshare1/region/storm org.mshare1.Region "$1" | cut -d' ' -f2
}
is() { # is PROPERTY VALUE: soon
        local _ value=
        for _ in $(seq 150); do
                value=$(property "$1" 2>&1)
                [ "$value" = "$2" ] && return
                sleep 0.1
        done
        echo "# $1 is $value, not $2"
        return 1
}

# Back at once: the time between is not what is tested.
mkdir -p /run/systemd/system/mshared.service.d
printf '[Service]\nRestartSec=20ms\n' > /run/systemd/system/mshared.service.d/storm.conf
systemctl daemon-reload
systemctl enable --now mshared 2> /dev/null
busctl call org.mshare1 /org/mshare1 org.mshare1.Manager CreateRegion 'stua{sv}' storm $((4 << 20)) $((0660)) 2 \
        uid u 1000 gid u 1000 > /dev/null || exit 1

mkfifo "$out/to" "$out/from"
setpriv --reuid=1000 --regid=1000 --clear-groups $storm storm "$n" < "$out/to" > "$out/from" 2> "$out/err" &
exec {to}> "$out/to" {from}< "$out/from"
tell() { # tell COMMAND: the answer goes to $answer
        echo "$1" >&$to
        answer='nothing'
        read -r -t 120 answer <&$from
}

good=0 wrong=0
for ((i = 1; i <= rounds; i++)); do
        sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
        if ((i % 5 == 0)); then
                systemctl restart mshared
        else
                kill -9 "$(systemctl show -P MainPID mshared)" 2> /dev/null
        fi
        tell freeze
        if [ "$answer" = "frozen $n" ] && is NClients "$n" && is NSharers "$n" &&
                [ "$(find /run/mshared/leases -type p | wc -l)" = "$n" ]; then
                good=$((good + 1))
                ((i % 5 != 0)) || echo "# $i rounds, $SECONDS s"
        else
                wrong=$((wrong + 1))
                echo "# round $i: $answer; clients $(property NClients), sharers $(property NSharers), leases $(find /run/mshared/leases -type p | wc -l)"
                tail -n 3 "$out/err" | sed 's/^/# /'
                [ $wrong -lt 4 ] || break
        fi
        tell thaw
done
verdict() { # verdict NUMBER NAME COMMAND...
        local number=$1 name=$2
        shift 2
        if "$@"; then echo "ok $number - $name"; else echo "not ok $number - $name"; fi
}
verdict 1 "after each of $rounds ends of the broker its books agree with the kernel's" [ "$good" = "$rounds" ]
tell end
echo "# cycles and wrong memory: $answer"
verdict 2 'the memory held what was written to it' [ "${answer##* }" = 0 ]
exec {to}>&- {from}<&-
wait
verdict 3 'when all have gone there is no client' is NClients 0
verdict 4 'and no sharer' is NSharers 0
busctl call org.mshare1 /org/mshare1 org.mshare1.Manager RemoveRegion 'sa{sv}' storm 0 > /dev/null
verdict 5 'the region can be removed' sh -c '! [ -e /sys/fs/mshare/storm ]'
verdict 6 'nothing is orphaned' sh -c '[ -z "$(ls /run/mshared/leases /run/mshared/regions | grep -v :)" ]'
rm -rf /run/systemd/system/mshared.service.d
systemctl daemon-reload
echo 1..6
