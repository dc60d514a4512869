#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The broker is killed or restarted at random moments while processes come and go. After each time, its records agree
# with the kernel's. MSHARE_STORM_ROUNDS and MSHARE_STORM_PROCESSES: the number of rounds and of processes.
# limit: 1200
# follows: resize
# long: MSHARE_STORM_ROUNDS=300 MSHARE_STORM_PROCESSES=200
# long-limit: 7200
# long: MSHARE_STORM_ROUNDS=5 MSHARE_STORM_PROCESSES=50
# long-kernel: debug
# long-limit: 1200
# shellcheck disable=SC2016
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

rounds=${MSHARE_STORM_ROUNDS:-10}
n=${MSHARE_STORM_PROCESSES:-100}
programs=/usr/libexec/mshare/tests
procs=/sys/fs/cgroup/system.slice/mshared.service/cgroup.procs

needs_mshare
needs_program $programs/broker-storm

# Restart at once: the time in between is not tested here.
mkdir -p /run/systemd/system/mshared.service.d
printf '[Service]\nRestartSec=20ms\n' > /run/systemd/system/mshared.service.d/storm.conf
systemctl daemon-reload
systemctl enable --now mshared 2> /dev/null
busctl call org.mshare1 /org/mshare1 org.mshare1.Manager CreateRegion 'stua{sv}' storm $((4 << 20)) $((0660)) 2 \
        uid u 1000 gid u 1000 > /dev/null || exit 1

mkfifo "$out"/{to,from}-{storm,books} "$out/never"
setpriv --reuid=1000 --regid=1000 --clear-groups $programs/broker-storm storm "$n" \
        < "$out/to-storm" > "$out/from-storm" 2> "$out/err" &
storm=$!
exec {to_storm}> "$out/to-storm" {from_storm}< "$out/from-storm"
$programs/broker-books < "$out/to-books" > "$out/from-books" 2>> "$out/err" &
exec {to_books}> "$out/to-books" {from_books}< "$out/from-books"
exec {never}<> "$out/never"
# A round starts as few programs as possible, because that is slow in an emulated machine.
tell() { # tell TO FROM COMMAND: the answer goes to $answer
        echo "$3" >&"$1"
        answer='nothing'
        read -r -t 180 answer <&"$2"
}
books() { # books N|-: they agree
        tell "$to_books" "$from_books" "storm $1"
        [ "$answer" = agree ] || echo "# $answer"
        [ "$answer" = agree ]
}
pause() { read -r -t "$1" -u "$never" _; } # pause SECONDS
kill_broker() { # whatever exists of it: systemd's child that is about to become it counts, too
        local pids
        until mapfile -t pids 2> /dev/null < $procs && [ ${#pids[@]} -gt 0 ] && kill -9 "${pids[@]}" 2> /dev/null; do
                pause 0.01
        done
}
lap() { # lap NAME: add the time since the last call to its account
        local now=${EPOCHREALTIME/[.,]/}
        [ -z "$1" ] || spent[$1]=$((${spent[$1]:-0} + now - last))
        last=$now
}

declare -A spent=()
good=0 wrong=0 last=0
for ((i = 1; i <= rounds; i++)); do
        lap ''
        pause "0.$((RANDOM % 4))$((RANDOM % 10))"
        lap pause
        if ((i % 5 == 0)); then systemctl restart mshared; else kill_broker; fi
        lap end
        tell "$to_storm" "$from_storm" freeze
        frozen=$answer
        lap freeze
        if [ "$frozen" = "frozen $n" ] && books "$n"; then
                good=$((good + 1))
                ((i % 5 != 0)) || echo "# $i rounds, $SECONDS s"
        else
                wrong=$((wrong + 1))
                echo "# round $i: $frozen"
                tail -n 3 "$out/err" | sed 's/^/# /'
                [ $wrong -lt 4 ] || break
        fi
        lap books
        tell "$to_storm" "$from_storm" thaw
        lap thaw
done
for what in "${!spent[@]}"; do echo "# $what: $((spent[$what] / 1000 / rounds)) ms a round"; done

verdict() { # verdict NUMBER NAME COMMAND...
        local number=$1 name=$2
        shift 2
        if "$@"; then echo "ok $number - $name"; else echo "not ok $number - $name"; fi
}
verdict 1 "after each of $rounds ends of the broker, its records agree with the kernel's" [ "$good" = "$rounds" ]
tell "$to_storm" "$from_storm" end
echo "# cycles and wrong memory: $answer"
verdict 2 'the memory held what was written to it' [ "${answer##* }" = 0 ]
exec {to_storm}>&- {from_storm}<&-
wait $storm
verdict 3 'when all processes have gone, there is no client, no sharer and no lease' books 0
busctl call org.mshare1 /org/mshare1 org.mshare1.Manager RemoveRegion 'sa{sv}' storm 0 > /dev/null
verdict 4 'the region can be removed, and nothing is left over' books -
verdict 5 'not even a directory entry' sh -c '[ -z "$(ls -A /run/mshared/leases /run/mshared/regions /sys/fs/mshare | grep -v : | grep .)" ]'
rm -rf /run/systemd/system/mshared.service.d
systemctl daemon-reload
echo 1..5
