#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs the recipes of doc/tracing.md in the selftest guest, exactly as they are
# in the page. Each must name the process that caused the events. "sleep" in the
# recipes is replaced by the load. Speaks TAP.
# shellcheck shell=dash
page=/tests/tracing.md
load=/tests/tracing-load
rates=/tests/tracing-rates
region=traced
count=0
out=$(mktemp -d)

skip_all() {
        echo "1..0 # SKIP $1"
        exit 0
}

# recipe HEADING: the first block of commands under it.
recipe() {
        awk -v heading="## $1" '
                /^## / { here = $0 == heading; next }
                here && /^    / { print substr($0, 5); block = 1; next }
                here && block { exit }' $page
}

# check NAME COMMAND...: one point.
check() {
        local name="$1"
        shift
        count=$((count + 1))
        if "$@" > "$out/log" 2>&1; then
                echo "ok $count - $name"
        else
                echo "not ok $count - $name"
                cat "$out/log" "$out/said" | sed 's/^/# /'
        fi
}

# follow HEADING: run that recipe in this shell, with its output in "said". It
# fails if there is no such recipe, or if one of its commands prints an error.
follow() {
        recipe "$1" > "$out/commands"
        [ -s "$out/commands" ] || return 1
        # shellcheck disable=SC1091 # written above
        . "$out/commands" > "$out/said" 2> "$out/complaints"
        cat "$out/complaints"
        ! [ -s "$out/complaints" ]
}

# says PATTERN: the recipe printed such a line.
says() { grep -E "$1" "$out/said"; }

# counts PATTERN LEAST: the first word of such a line is a number of at least LEAST.
counts() {
        local n
        n=$(grep -E "$1" "$out/said" | head -n 1 | awk '{ print $1 }')
        echo "$n, expected at least $2"
        [ "${n:-0}" -ge "$2" ]
}

# at_least FAULTS FLUSHES: $counted has at least these.
at_least() {
        echo "$counted"
        [ "${counted% *}" -ge "$1" ] && [ "${counted#* }" -ge "$2" ]
}

# resident: the kilobytes that the recipe printed, before and after.
resident() { grep -o '[0-9]*$' "$out/resident"; }
shrank() {
        grep '^mshare-resident-kb' "$out/said" > "$out/resident"
        [ "$(resident | head -n 1)" -gt "$(resident | tail -n 1)" ]
}

[ -e /proc/sys/vm/mshare_size ] || skip_all 'the kernel has no mshare'
[ -d /sys/kernel/tracing ] || skip_all 'the kernel has no tracing: CONFIG_FTRACE'
# An earlier test may have mounted it; a second mount fails with EBUSY.
mounted=
if [ ! -e /sys/kernel/tracing/trace ]; then
        mount -t tracefs tracefs /sys/kernel/tracing || exit 1
        mounted=1
fi
[ -d /sys/kernel/tracing/events/mshare ] || skip_all 'the kernel has no tracepoints of mshare'

# The recipes name processes, for which the kernel patches code that other CPUs execute:
# QEMU before 8.1 does not always notice. So there is only one CPU meanwhile.
cpus=
for cpu in /sys/devices/system/cpu/cpu[1-9]*; do
        [ "$(cat "$cpu/online" 2> /dev/null)" = 1 ] || continue
        echo 0 > "$cpu/online" || exit 1
        cpus="$cpus $cpu"
done

sleep() { $load $region work; }
# The memory is charged to a cgroup of its own, so that it can be reclaimed alone.
group=/sys/fs/cgroup/tracing
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
mkdir $group
sh -c "echo 0 > $group/cgroup.procs && exec $load $region make" || exit 1
# Without the region name that the page uses.
recipe Before | grep -v '^region=' > "$out/before"
check 'a buffer of its own' . "$out/before"

check 'who faults' follow 'Who faults in a region'
check 'the process, and how often' counts 'tracing-load-[0-9]+ 0x6$' 128
check 'who flushes' follow 'Who flushes'
check 'the process, and how often' counts 'tracing-load-[0-9]+$' 2
# The counters of "msharectl top".
check 'msharectl top counts' $rates $region $load $region work
counted=$(cat "$out/log")
check 'faults and flushes' at_least 128 2
check 'it counts for another region' $rates other $load $region work
check 'nothing' [ "$(cat "$out/log")" = '0 0' ]
check 'how long the lock is held' follow 'How long the lock is held'
check 'by the process' says '^traced: locked [1-9][0-9]* times, waited [0-9]+ us at most, held [1-9][0-9]* us at most, by tracing-load-[0-9]+$'
check 'who attaches and detaches' follow 'Who attaches and detaches'
check 'the process' says 'tracing-load-[0-9]+ .* mshare_attach: region=traced access=rw sharers=1$'
check 'its child' says 'mshare_attach: region=traced access=rw sharers=2$'
check 'the end of both' says 'mshare_detach: region=traced sharers=0$'

# Reclaim of anonymous memory needs swap. The load then reads some pages again.
swapon /dev/swap 2> /dev/null
if grep -q '^/dev' /proc/swaps 2> /dev/null; then
        sleep() {
                for _ in 1 2 3 4 5; do
                        echo 3M > $group/memory.reclaim && break
                done 2> /dev/null
                $load $region touch
        }
        check 'what reclaim takes' follow 'What reclaim takes'
        check 'who reclaimed how many pages' counts ' reclaimed ' 256
        check 'of which the region lost some' shrank
        check 'who brings them back' counts ' faulted tracing-load-[0-9]+$' 1
else
        count=$((count + 1))
        echo "ok $count - what reclaim takes # SKIP there is no swap"
fi

check 'the recipe to clean up' follow After
check 'leaves nothing' [ ! -e /sys/kernel/tracing/instances/mshare ]
$load $region unlink
rmdir $group
# Only now, when the region is gone and nothing must be read back.
swapoff /dev/swap 2> /dev/null
[ -z "$mounted" ] || umount /sys/kernel/tracing
for cpu in $cpus; do echo 1 > "$cpu/online" || exit 1; done
rm -rf "$out"
echo "1..$count"
