# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ./run bench; sourced by run after its libraries. Each benchmark prints records.
# records.py turns them into NAME.json in the results' directory, and all files
# there into tables and plots.

BENCH=$ROOT/tests/bench
BENCHES='sga tables faults unused scale postgres postgres-13 postgres-testing connections flush bound broker'
# Benchmarks whose counts are compared with the recorded ones: all but the broker's, which are times.
# shellcheck disable=SC2034 # for run
BENCHES_CHECKED='tables faults flush bound sga scale unused postgres postgres-13 postgres-testing connections'
# Those that --here runs on this machine itself.
# shellcheck disable=SC2034 # for run
BENCHES_HERE='sga tables faults flush pgbench'
BENCH_HERE=

# bench DIRECTORY NAME...: run these; without names, all.
bench() {
        local name begin commit
        RESULTS_DIR=$1
        shift
        # shellcheck disable=SC2086 # a list
        [ $# -gt 0 ] || set -- $BENCHES
        [ -n "$BENCH_HERE" ] || need_packages 'run the benchmarks' gcc libc6-dev pkg-config gnuplot-nox python3
        mkdir -p "$RESULTS_DIR/raw" "$ROOT/build-run/bench"
        for name in "$@"; do
                begin=$(date +%s)
                # Measure what is built now, even if the tree changes meanwhile.
                commit=$(bench_commit)
                step "benchmark $name"
                "bench_$name" > "$RESULTS_DIR/raw/$name.partial" < /dev/null
                mv "$RESULTS_DIR/raw/$name.partial" "$RESULTS_DIR/raw/$name"
                if [ -n "$BENCH_HERE" ]; then
                        "$BENCH/records.py" record "$RESULTS_DIR" "$name" here "$commit"
                else
                        kernel mshare
                        "$BENCH/records.py" record "$RESULTS_DIR" "$name" "$KERNEL" "$commit"
                fi
                say "    $(($(date +%s) - begin)) s"
        done
        rm -r "$RESULTS_DIR/raw"
        "$BENCH/records.py" summary "$RESULTS_DIR"
        say "==> results: $RESULTS_DIR/results.md"
}

# bench_check DIRECTORY NAME...: measure again and compare the counts with the recorded ones.
bench_check() {
        bench "$@"
        "$BENCH/check.py" "$ROOT/doc/results" "$@"
}

# bench_here DIRECTORY NAME...: on this machine, without a guest. What it needs has to be there: nothing is installed.
bench_here() {
        local tool
        [ "$(id -u)" = 0 ] || die "bench --here: has to run as root"
        [ -e /proc/sys/vm/mshare_size ] || die "bench --here: the kernel of this machine, $(uname -r), has no mshare"
        for tool in gcc gnuplot python3 setarch; do
                command -v $tool > /dev/null || die "bench --here: $tool is not installed"
        done
        BENCH_HERE=1
        export MSHARE_BENCH_HERE=1
        bench "$@"
        cat "$1/results.md"
        say "==> To have these figures among ours, open an issue with all files of $1 in it, and say what machine it is"
}

# bench_local PROGRAM SCRIPT: what bench_guest does, here. The settings are put back.
bench_local() {
        local program=$1 script=$2 setting folder
        folder=$(mktemp -d)
        cp "$ROOT/build-run/bench/$program" "$folder"
        for setting in vm/overcommit_memory vm/nr_hugepages; do
                mkdir -p "$folder/kept/${setting%/*}"
                cat "/proc/sys/$setting" > "$folder/kept/$setting"
        done
        # The word in brackets is the one that holds.
        sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/shmem_enabled > "$folder/kept/shmem_enabled"
        # shellcheck disable=SC2064 # this folder, now
        trap "bench_put_back '$folder'" EXIT
        EXTRA_FAULTS=${MSHARE_BENCH_EXTRA_FAULTS:-} setarch -R sh -c "${script//\/tmp\//$folder/}"
        bench_put_back "$folder"
        trap - EXIT
}

bench_put_back() {
        local setting
        for setting in vm/overcommit_memory vm/nr_hugepages; do cat "$1/kept/$setting" > "/proc/sys/$setting"; done
        cat "$1/kept/shmem_enabled" > /sys/kernel/mm/transparent_hugepage/shmem_enabled
        rm -r "$1"
}

bench_commit() {
        local commit dirty=
        commit=$(git -C "$ROOT" rev-parse --short=12 HEAD 2> /dev/null || echo unknown)
        # Changes that are not committed and affect what is measured.
        if [ -n "$(git -C "$ROOT" status --porcelain -uno -- kernel base lib daemon region ctl units tests/bench tests/demo 2> /dev/null)" ]; then dirty='+'; fi
        echo "$commit$dirty"
}

# bench_cc NAME SOURCE...: a static program for the selftest guest.
bench_cc() {
        local name=$1
        shift
        gcc -static -O2 -Wall -Wextra -pthread -D_GNU_SOURCE -I"$ROOT/lib" \
                -o "$ROOT/build-run/bench/$name" "$@" "$ROOT/lib/syscall.c"
}

# bench_guest KIND MEMORY PROGRAM SWITCHES... -- SCRIPT: a shell script in the
# selftest guest, with the program at /tmp/PROGRAM. Addresses are not randomized: where
# they fall may cost a process a page of tables.
bench_guest() {
        local kind=$1 memory=$2 program=$3
        shift 3
        if [ -n "$BENCH_HERE" ]; then
                (bench_local "$program" "${@: -1}")
                return
        fi
        guest_arguments "$kind" selftest
        "$BED/guest.py" "${GUEST_ARGS[@]}" -m "$memory" --timeout 3600 --die-with-parent \
                --put "$ROOT/build-run/bench/$program" "${@:1:$#-1}" \
                sh -c "echo 0 > /proc/sys/kernel/randomize_va_space; cp /run/job/$program /tmp; export EXTRA_FAULTS=${MSHARE_BENCH_EXTRA_FAULTS:-}; ${*: -1}"
}

# Everything that a kind of buffer needs first.
# shellcheck disable=SC2016 # the guest's shell expands it
BENCH_KINDS='
        buffer() { # buffer KIND MIB COUNT...
                # Not what the machine has set: with "always" or "within_size" plain memory has huge pages.
                echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled
                case $1 in
                thp | region-thp) echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled ;;
                *hugetlb*) echo $(($2 / 2)) > /proc/sys/vm/nr_hugepages ;;
                esac
                /tmp/memory "$@" || exit
                echo 0 > /proc/sys/vm/nr_hugepages
        }'

# The server of the first series' cover letter: 300 GiB in the page tables of 1500
# processes. Plain goes as far as the guest's memory, and says so.
bench_sga() {
        bench_cc sga "$BENCH/sga.c"
        bench_guest mshare 6144 sga -- '
                echo 1 > /proc/sys/vm/overcommit_memory
                echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled
                /tmp/sga region 1 10 100 500 1000 1500 && /tmp/sga plain 1 2 3 4 5 6 7 8'
}

# Page tables of one buffer of 256 MiB against the number of its processes.
bench_tables() {
        bench_cc memory "$BENCH/memory.c"
        # shellcheck disable=SC2016
        bench_guest mshare 3072 memory -- "$BENCH_KINDS"'
                for kind in plain thp hugetlb region region-thp region-hugetlb; do buffer $kind 256 1 10 50 100 250 500 1000 1500; done'
}

# What the N-th process needs to touch 1 GiB; nanoseconds are instructions.
bench_faults() {
        bench_cc memory "$BENCH/memory.c"
        # shellcheck disable=SC2016
        bench_guest mshare 3072 memory --icount -- "$BENCH_KINDS"'
                for kind in plain thp hugetlb hugetlb-aligned region region-thp region-hugetlb; do
                        buffer $kind 1024 1 2 10
                done'
}

# The stock kernel against the patched one: where no process has a region, where another one has, and for a process
# that has one itself and works beside it, compared with one that has a plain mapping instead. Each in three boots, since some counts differ between boots.
bench_unused() {
        local kind run state
        bench_cc unused "$BENCH/unused.c"
        for run in 1 2 3; do
                for kind in stock mshare; do
                        case $kind in
                        stock) state='none mapping' ;;
                        mshare) state='none elsewhere window' ;;
                        esac
                        bench_guest "labels-$kind" 1024 unused --icount -- "
                                for state in $state; do /tmp/unused \$state || exit; done" | sed "s/^state=/run=$run kernel=$kind &/"
                done
        done
}

# What grows with the number of CPUs.
# shellcheck disable=SC2016 # the guest's shell expands it
bench_scale() {
        local cpus
        bench_cc scale "$BENCH/scale.c"
        for cpus in 1 2 4 8; do
                bench_guest mshare 2048 scale -c $cpus -- "cpus=$cpus"'
                        for kind in plain threads region; do /tmp/scale fill $kind $cpus 64 || exit; done
                        for kind in plain region; do /tmp/scale fork $kind 64 || exit; done
                        for kind in threads region; do
                                /tmp/scale flush $kind $((cpus - 1)) 0 &&
                                        /tmp/scale flush $kind $((cpus - 1)) 100 && /tmp/scale flush $kind 0 100 &&
                                        /tmp/scale wait $kind $((cpus > 1 ? cpus - 1 : 1)) 64 || exit
                        done'
        done
}

# bench_server RELEASE MEMORY ARGS...: postgres-tables.sh with these arguments, in a guest of that release of Debian, else of
# the machine's own.
bench_server() {
        local release=$1 memory=$2
        shift 2
        guest_arguments mshare systemd '' "$release"
        "$BED/guest.py" "${GUEST_ARGS[@]}" -m "$memory" --timeout 3600 --die-with-parent \
                --put "$BENCH/postgres-tables.sh" --put "$ROOT/tests/demo/postgresql.sh" --put "$ROOT/tests/demo/load.py" \
                -- sh -c "bash /run/job/postgres-tables.sh $*"
}

bench_postgres() { bench_server '' 4096 "${MSHARE_BENCH_CONNECTIONS:-200}" 384 2 100 plain huge region region-thp; }

# The same with the PostgreSQL of other releases. What a connection costs shows with fewer of them.
bench_postgres-13() { bench_server 13 4096 50 384 2 100 plain huge region region-thp; }
bench_postgres-testing() { bench_server testing 4096 50 384 2 100 plain huge region region-thp; }

# 1000 connections in one region, and 1 GiB of shared buffers. A page in 50 is enough to use each page of their tables.
bench_connections() { bench_server testing 6144 1000 1024 7 2 plain huge region; }

# Only with --here: thousands of clients, and times.
bench_pgbench() { "$BENCH/here.sh"; }

# The cost of taking a right or a page away from a region with idle sharers.
bench_flush() {
        bench_cc flush "$BENCH/flush.c"
        # shellcheck disable=SC2016
        bench_guest mshare 2048 flush --icount -- '
                for count in 0 100 1000; do
                        for kind in region threads; do /tmp/flush $kind $count || exit; done
                done'
}

# How long a sharer waits for another that works on the whole region.
bench_bound() {
        bench_cc bound "$BENCH/bound.c"
        bench_guest mshare 1024 bound --icount -- '/tmp/bound 256 && /tmp/bound 4096'
}

# shellcheck disable=SC2016 # the guest's shell expands it
bench_broker() {
        need_packages 'run the benchmarks' libsystemd-dev
        # shellcheck disable=SC2046 # flags
        gcc -O2 -Wall -Wextra -D_GNU_SOURCE -I"$ROOT/lib" -o "$ROOT/build-run/bench/broker" "$BENCH/broker.c" \
                $(pkg-config --cflags --libs libsystemd)
        guest_arguments mshare systemd
        "$BED/guest.py" "${GUEST_ARGS[@]}" -m 4096 --timeout 3600 --die-with-parent \
                --put "$ROOT/build-run/bench/broker" -- bash -c '
                set -e
                cp /run/job/broker /tmp
                # The bus refuses users that the system does not know.
                for i in 0 1 2 3 4 5 6 7; do useradd -M -u $((20000 + i)) herd$i; done
                systemctl enable -q --now mshared
                msharectl create herd 64M --mode=0666
                /tmp/broker latency herd 1000
                /tmp/broker herd herd 100
                /tmp/broker herd herd 1500'
}
