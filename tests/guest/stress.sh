#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# stress-ng's memory stressors and trinity's memory calls, by processes that
# have no window, then a window, and then much of their memory in it. The test
# bed watches the kernel's console. This script checks that no stressor fails
# because of a window, and that nothing is left of them.
# limit: 3600
# memory: 3072
# only: long
# long: MSHARE_STRESS_SECONDS=4
# long: MSHARE_STRESS_SECONDS=4
# long-kernel: debug
# long-limit: 9000
# shellcheck disable=SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

seconds=${MSHARE_STRESS_SECONDS:-4}
# Stressors of memory and processes; those that this stress-ng does not know are left out.
wanted='bigheap brk clone daemon exec fork madvise membarrier memfd mincore mlock mlockmany mmap mmapaddr mmapfixed
        mmapfork mmaphuge mmapmany mprotect mremap msync munmap pagemove pageswap physpage pkey pthread remap shm
        stack swap tmpfs userfaultfd vfork vm vma vm-addr vm-rw vm-segv vm-splice zombie'
known=$(stress-ng --stressors 2> /dev/null)
preload=/usr/libexec/mshare/tests/window-preload.so
region=stress

# The environment of the three kinds of run.
plain=()
window=("LD_PRELOAD=$preload" "MSHARE_WINDOW=$region")
inside=("${window[@]}" MSHARE_WINDOW_INSIDE=1)

# stressor NAME ENVIRONMENT...: its exit status, 0 also for "cannot do that here".
stressor() {
        local name=$1 rc=0
        shift
        timeout -k 10 $((seconds * 10 + 120)) env "$@" stress-ng "--$name" 2 --timeout "${seconds}s" --vm-bytes 64m \
                --mmap-bytes 64m --bigheap-growth 256k --oomable --temp-path "$out" --log-brief || rc=$?
        # 3: no resources, 4: not implemented
        case $rc in 3 | 4) rc=0 ;; esac
        return $rc
}

figure() { # figure NAME: a line of the region's fdinfo
        local fd
        exec {fd}< /sys/fs/mshare/$region
        awk -v key="$1:" '$1 == key { print $2 }' "/proc/self/fdinfo/$fd"
        exec {fd}<&-
}
in_region() { # a command's processes are sharers while they run
        env "${window[@]}" sleep 5 &
        local pid=$! i sharers=0
        for i in {1..50}; do
                sharers=$(figure mshare-sharers)
                [ "$sharers" -lt 1 ] || break
                sleep 0.1
        done
        echo "after $i looks: $sharers sharers"
        wait $pid
        [ "$sharers" -ge 1 ]
}
holds_memory() { # a stressor's memory is in the region
        local most=0 now i pid
        stressor vm "${inside[@]}" &
        pid=$!
        for i in {1..200}; do
                now=$(figure mshare-resident-kb)
                [ "$now" -le "$most" ] || most=$now
                kill -0 $pid 2> /dev/null || break
                sleep 0.1
        done
        wait $pid
        echo "after $i looks: $most kB resident"
        [ "$most" -gt 16384 ]
}
nobody_left() {
        local i
        for i in {1..100}; do
                [ "$(figure mshare-sharers)" != 0 ] || return 0
                sleep 0.2
        done
        echo "after $i looks: $(figure mshare-sharers) sharers"
        return 1
}
tables_sound() { [ "$(cat /sys/kernel/debug/mshare/check)" = ok ]; }
# It ends in time, by itself, because memory that forks share confuses many stressors.
ends() {
        local rc=0
        "$@" || rc=$?
        [ $rc != 124 ] && [ $rc != 137 ]
}
trinity_run() { # trinity_run ENVIRONMENT...
        local dir=$out/trinity rc=0
        mkdir -p "$dir"
        chown 1000:1000 "$dir"
        chmod 711 "$out"
        # As an ordinary user: as root it would sooner or later break the guest by
        # right. It cannot name mshare(): that is mshare_hostile's part. Without
        # its sockets, which it dies of by itself.
        (cd "$dir" && timeout -k 10 $((seconds * 60 + 300)) env "$@" setpriv --reuid 1000 --regid 1000 --clear-groups \
                trinity -q -l off -C 4 -g vm --enable-fds=memfd -N $((seconds * 2500)) -s 20220401) > "$out/trinity.log" 2>&1 || rc=$?
        rm -rf "$dir"
        tail -n 5 "$out/trinity.log"
        [ $rc = 0 ] && grep -qE 'Ran [0-9]{3,} syscalls' "$out/trinity.log"
}

mount -t debugfs debugfs /sys/kernel/debug 2> /dev/null
umask 0
check 'a region for all' env "${window[@]}" true
umask 022
check 'a preloaded program is a sharer' in_region
# Stressors that exist here, and succeed without a window, must succeed with one.
for name in $wanted; do
        grep -qw -- "$name" <<< "$known" || continue
        if stressor "$name" "${plain[@]}" > "$out/plain" 2>&1; then
                check "$name, its processes with a window" stressor "$name" "${window[@]}"
        else
                skip "$name, its processes with a window" 'it fails without one'
        fi
        check "$name, its memory in a window" ends stressor "$name" "${inside[@]}"
done
check 'memory of a stressor was in the region' holds_memory
if type trinity > /dev/null 2>&1; then
        check 'trinity, memory calls' trinity_run
        check 'trinity, its processes with a window' trinity_run "${window[@]}"
        check 'trinity, its memory in a window' trinity_run "${inside[@]}"
else
        skip 'trinity' 'it is not installed'
fi
check 'no sharer is left' nobody_left
if [ -e /sys/kernel/debug/mshare/check ]; then check 'the tables are sound' tables_sound; fi
check 'the region goes' rm /sys/fs/mshare/$region
rm -rf "$out"
echo "1..$count"
