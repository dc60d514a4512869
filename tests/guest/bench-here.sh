#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ./run bench --here. The machine that it measures is the guest; the project's source, the compiler and gnuplot are those
# of the machine that runs the guest, seen below the guest's own files.
# only: long
# limit: 2400
# memory: 3072
# host: yes
# shellcheck disable=SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

needs_mshare
for program in gcc gnuplot git; do
        [ -e /mnt/host/usr/bin/$program ] || [ -L /mnt/host/usr/bin/$program ] || skip_all "$program is not installed on the machine that runs the guest"
done
over=$(mktemp -d)
root=$over/root
mount -t tmpfs tmpfs "$over"
mkdir "$over/upper" "$over/work" "$root"

# Both have the same release of Debian, so programs of one run with libraries of the other.
both_systems() {
        local folder
        mount -t overlay overlay -o "lowerdir=/:/mnt/host,upperdir=$over/upper,workdir=$over/work" "$root"
        for folder in dev proc run sys; do mount --rbind "/$folder" "$root/$folder" || return; done
}

bench_here() { # bench_here NAME...: with what is in the environment
        # shellcheck disable=SC2016 # the inner shell's
        HOME=/root chroot "$root" sh -c 'cd "$1" && shift && ./run --no-install bench --here --out /tmp/here "$@"' sh "$MSHARE_TREE" "$@"
}

settings() {
        sysctl vm.overcommit_memory vm.nr_hugepages
        cat /sys/kernel/mm/transparent_hugepage/shmem_enabled
}

as_before() { [ "$(settings)" = "$before" ] || diff <(echo "$before") <(settings); }
recorded() { # recorded NAME EXPRESSION: it holds for rows, the records of that benchmark, which was made here
        python3 - "$root/tmp/here/$1.json" "$2" << 'END'
import json, sys
with open(sys.argv[1], encoding="utf-8") as file:
    result = json.load(file)
for row in result["records"]:
    print(row)
rows = result["records"]
if not result["here"] or not eval(sys.argv[2]):
    sys.exit(f"not true: {sys.argv[2]}")
END
}
nothing_is_left() { ! find "$root/var/tmp" -name 'mshare-bench.*' | grep . && is '' ls /sys/fs/mshare; }

check 'this system and that of the host, one above the other' both_systems
check 'mshared runs' systemctl start mshared
# None of them is what the kernel begins with, or what a benchmark sets.
echo 7 > /proc/sys/vm/nr_hugepages
echo 2 > /proc/sys/vm/overcommit_memory
sysctl -q vm.overcommit_ratio=500
echo within_size > /sys/kernel/mm/transparent_hugepage/shmem_enabled
before=$(settings)

check 'a benchmark that cannot run here is refused' refused "Invalid bench --here 'broker'" bench_here broker
check 'faults and flush are measured' bench_here faults flush
check 'the settings are as before' as_before
check 'a page fault for each 16 plain pages' recorded faults \
        'all(row["faults"] > 16000 for row in rows if row["kind"] == "plain" and row["processes"])'
check 'hardly any in a region' recorded faults \
        'len([row for row in rows if row["kind"] == "region" and row["processes"] and row["faults"] < 10]) == 3'
check 'mprotect() and munmap() with sharers and with threads' recorded flush \
        '{(row["kind"], row["others"]) for row in rows} == {(kind, n) for kind in ("region", "threads") for n in (0, 100, 1000)}'
check 'the results say what machine it was' grep -F "Kernel $MSHARE_RELEASE, " "$root/tmp/here/results.md"

export MSHARE_BENCH_CLIENTS='3 15' MSHARE_BENCH_SECONDS=3 MSHARE_BENCH_SCALE=1
MSHARE_BENCH_BUFFERS=many check 'a size that is no number is refused' \
        refused "MSHARE_BENCH_BUFFERS is 'many', expected a whole number of at least 1" bench_here pgbench
export MSHARE_BENCH_BUFFERS=64
check 'pgbench is measured' bench_here pgbench
check 'each kind of memory, profile and number of clients' recorded pgbench \
        '{(row["kind"], row["profile"], row["clients"]) for row in rows} == {(kind, profile, n) for kind in ("plain", "huge", "region")
                for profile in ("select", "simple-update") for n in (3, 15)}'
check 'with transactions, and page tables' recorded pgbench \
        'all(float(row["tps"]) > 0 and float(row["connect_ms"]) > 0 and row["faults"] > 0 and row["table_bytes"] > 0 for row in rows)'
check 'the settings are as before' as_before
check 'no region and no folder is left' nothing_is_left
check 'the table has all three side by side' bash -c "grep -c '^| select, 15' '$root/tmp/here/results.md' | grep -x 3"
echo "1..$count"
exit $failed
