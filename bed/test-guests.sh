# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The phases of ./run test that need a kernel; sourced by test.sh.

guests_need() { need_packages 'run the guests' qemu-system-x86 python3 perl; }

# with_followers SCRIPT: it, and those that share its guest, in order.
with_followers() {
        local next
        echo "$1"
        grep -lx "# follows: $(basename "$1" .sh)" "$ROOT"/tests/guest/*.sh | while read -r next; do with_followers "$next"; done || true
}

plan_guests() {
        local kind script scripts
        plan rootfs 'the systemd guest' 60 rootfs
        plan debug-all 'kernel selftests on debug, pti off, la57 on' 600 selftests debug shared --pti off --la57 on
        after debug-kernel
        # With four levels the entry of a region may be in the PGD, which PTI copies. With
        # five it is in a table below, and only stock code writes the PGD. Then PTI does not
        # affect regions, so only --long tests that corner. The mshare kernel is in the
        # fourth, pti off and la57 off. Mixed: regions linked by 512 GiB, and by 1 GiB.
        plan_corner on off --geometry mixed
        for script in "$ROOT"/tests/guest/*.sh; do
                # Scripts that are only for --long are not counted here.
                if grep -qE '^# (only: long|follows: )' "$script"; then continue; fi
                mapfile -t scripts < <(with_followers "$script")
                plan "guest-$(basename "$script" .sh)" "the system in the guest:$(printf ' %s' "${scripts[@]##*/}")" 120 guest_scripts "${scripts[@]}"
                after mshare-kernel rootfs
        done
        plan packages-scripts 'Debian packages: install, upgrade and purge in a copy of this system' 60 test_scripts
        plan bed 'the test bed itself' 120 bed_script tests/bed/test-bed.sh
        after mshare-kernel debug-kernel rootfs
        for kind in debug mshare; do
                plan "alone-$kind" "kernel selftests that need a boot of their own, on $kind" 60 selftests "$kind" alone
                after "$kind-kernel"
        done
        plan selftests 'kernel selftests on mshare, pti off, la57 off' 90 selftests mshare shared --pti off --la57 off
        after mshare-kernel
        plan sparse 'kernel files: sparse' 60 lint_sparse
        after mshare-kernel debug-kernel
        plan mbox 'the patch series as one mbox' 30 series_is_tree
        after mshare-kernel
}

# plan_corner PTI LA57 SWITCHES...
plan_corner() {
        local pti=$1 la57=$2
        shift 2
        plan "debug-pti-$pti-la57-$la57" "kernel selftests of page tables on debug, pti $pti, la57 $la57" 300 \
                selftests debug tables --pti "$pti" --la57 "$la57" "$@"
        after debug-kernel
}

plan_kernels() {
        plan mshare-kernel 'the mshare kernel' "$(built mshare 300)" build_kind mshare
        plan debug-kernel 'the debug kernel' "$(built debug 480)" build_kind debug
}

# built KIND SECONDS: the time of its build: SECONDS, or 20 if the cache has that kernel.
built() { if compgen -G "$CACHE/kernel/$1-*" > /dev/null; then echo 20; else echo "$2"; fi; }

build_kind() {
        kernel "$1"
        point "$1 kernel" 'is built' pass
}

# selftests KIND shared|tables|rest|alone SWITCHES...
selftests() {
        local kind=$1 which=$2
        shift 2
        guests_need
        kernel "$kind"
        initramfs
        counted "$BED/suite.py" --kernel "$KERNEL" --kind "$kind" --initrd "$INITRD" --cache "$CACHE" \
                --list "$ROOT/tests/kernel/selftests.list" --sources "$SELFTESTS" \
                --results "$RESULTS" --which "$which" \
                --patched "$(is_patched "$kind" && echo yes || echo no)" "$@"
}

# The build tree must be the pristine source plus the series, nothing else, and
# git am of the mbox on the pristine files must give the same.
series_is_tree() {
        kernel_source
        check series 'the build tree is the pristine source plus the series' with_lock kernel-mshare only_series_differs
        check series 'git am of run kernel --series gives the tree that is built' with_lock kernel-mshare mbox_gives_tree
}

only_series_differs() {
        local tree=$CACHE/tree/mshare/linux path
        kernel_tree mshare
        # Files that no patch touches have the same inode as in the pristine source. checkpatch
        # leaves a memo where it is run.
        while read -r path; do
                grep -qxF -- "$path" "$CACHE/tree/mshare/paths" && continue
                if ! cmp -s "$KSRC/$path" "$tree/$path"; then
                        echo "differs from the pristine source, but no patch touches it: $path"
                        return 1
                fi
        done < <(join -v 1 <(cd "$KSRC" && find . -type f ! -name '.checkpatch-*' -printf '%P %i\n' | LC_ALL=C sort) \
                <(cd "$tree" && find . -type f -printf '%P %i\n' | LC_ALL=C sort) -j 1 -o 1.1 |
                LC_ALL=C sort -u)
}

mbox_gives_tree() {
        local work rc=0 path
        work=$(mktemp -d)
        kernel_tree mshare
        (
                set -e
                cd "$work"
                export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
                export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t
                git init -q am
                git init -q built
                while read -r path; do
                        for pair in "$KSRC am" "$CACHE/tree/mshare/linux built"; do
                                from=${pair% *} to=${pair##* }
                                [ -e "$from/$path" ] || continue
                                mkdir -p "$to/$(dirname "$path")"
                                cp "$from/$path" "$to/$path"
                        done
                done < "$CACHE/tree/mshare/paths"
                "$KDIR/series.sh" mbox "$KSRC" > all.mbox
                (cd am && git add -A -f && git commit -q --allow-empty -m pristine)
                if [ -s all.mbox ]; then (cd am && git am -q --whitespace=nowarn ../all.mbox); fi
                (cd built && git add -A -f && git commit -q --allow-empty -m built)
                a=$(cd am && git rev-parse 'HEAD^{tree}')
                b=$(cd built && git rev-parse 'HEAD^{tree}')
                echo "git am gives tree $a, the build has $b"
                [ "$a" = "$b" ]
        ) || rc=1
        rm -rf "$work"
        return $rc
}

# lint_sparse: files that are clean are not checked again until a file or a configuration of a
# kernel changes, or the compiler, or sparse does.
lint_sparse() {
        local clean kind
        if ! is_patched mshare; then
                say '    kernel/series is empty: nothing to check'
                return 0
        fi
        kernel_source
        mkdir -p "$CACHE/sparse"
        find "$CACHE/sparse" -type f -mtime +30 -delete
        clean=$CACHE/sparse/$({
                declare -f check_sparse run_sparse sparse_warnings sparse_tree sparse_file builds
                cat "$BED/objects.mk"
                sparse --version
                for kind in mshare stock debug; do kernel_key "$kind"; done
        } | sha256sum | cut -c1-32)
        if [ -e "$clean" ]; then
                touch "$clean"
                say "    $(wc -l < "$clean") checks: nothing has changed since they passed"
                cat "$clean" >> "$RESULTS"
                return
        fi
        check_sparse || return 1
        if grep -q $'^pass\tsparse\t' "$RESULTS" && ! grep -q $'^\(fail\|skip\)\tsparse\t' "$RESULTS"; then
                grep $'^pass\tsparse\t' "$RESULTS" > "$clean.$$"
                mv "$clean.$$" "$clean"
        fi
}

# check_sparse: new kernel files must be free of sparse's warnings; a patched
# file must have no more of them than it has in the stock kernel.
check_sparse() {
        local file object kind files=() only_debug=()
        SPARSE=$(mktemp -d)
        with_lock kernel-mshare sparse_tree mshare && with_lock kernel-stock sparse_tree stock || return 1
        # Otherwise each file would count as not built, and would be skipped.
        check sparse 'kbuild tells what it builds' builds mshare mm/memory.o
        mapfile -t files < <(grep -E '\.c$' "$CACHE/tree/mshare/paths" | grep -vE '^(tools|Documentation|samples)/')
        for file in "${files[@]}"; do
                object=${file%.c}.o
                if builds mshare "$object"; then
                        echo "$object" >> "$SPARSE/mshare"
                        # A new file has no stock build to compare with.
                        if [ -e "$KSRC/$file" ] && builds stock "$object"; then echo "$object" >> "$SPARSE/stock"; fi
                elif [ ! -e "$KSRC/$file" ]; then
                        # Files that only the debug kernel builds are checked there.
                        only_debug+=("$object")
                fi
        done
        if [ ${#only_debug[@]} -gt 0 ]; then
                with_lock kernel-debug sparse_tree debug || return 1
                for object in "${only_debug[@]}"; do
                        if builds debug "$object"; then
                                echo "$object" >> "$SPARSE/debug"
                        else
                                echo "neither the mshare nor the debug kernel builds $object" > "$SPARSE/${object//\//_}.missed"
                        fi
                done
        fi
        for kind in mshare stock debug; do
                if [ -s "$SPARSE/$kind" ]; then check sparse "all of these files of $kind compile" run_sparse "$kind"; fi
        done
        for file in "${files[@]}"; do
                check sparse "$file" sparse_file "$file"
        done
        rm -rf "$SPARSE"
}

# run_sparse KIND: sparse's output for the objects listed in $SPARSE/KIND, file by file:
# kbuild names each before its warnings.
run_sparse() {
        local log=$SPARSE/$1.log rc=0
        xargs make -k -j"$JOBS" --output-sync=target -C "$CACHE/tree/$1/linux" CC='ccache gcc' HOSTCC='ccache gcc' \
                LOCALVERSION="-$1" C=2 CHECK=sparse < "$SPARSE/$1" > "$log" 2>&1 || rc=$?
        [ $rc = 0 ] || {
                grep -E -A3 'error|Error' "$log" | head -n 40
                return 1
        }
}

# sparse_warnings KIND FILE: without line numbers, which a patch shifts.
sparse_warnings() {
        awk -v file="$2" '/^ +[A-Z]+ / { here = $1 == "CHECK" && $2 == file; next } here' "$SPARSE/$1.log" |
                grep -E '(warning|error):' | sed -E 's/:[0-9]+:[0-9]+:/:/' | sort
}

# sparse_tree KIND: a tree that is configured and prepared for single objects.
sparse_tree() {
        kernel_tree "$1"
        make -s -C "$CACHE/tree/$1/linux" -j"$JOBS" CC='ccache gcc' HOSTCC='ccache gcc' \
                LOCALVERSION="-$1" prepare > "$CACHE/tree/$1/prepare.log" 2>&1
}

# sparse_file FILE: fails with the warnings that sparse prints here and not for stock.
sparse_file() {
        local object=${1%.c}.o kind
        for kind in mshare debug; do
                grep -qxF -- "$object" "$SPARSE/$kind" 2> /dev/null || continue
                # A file that was not checked has no warnings either.
                grep -qE "^ +CHECK +$1$" "$SPARSE/$kind.log" || {
                        echo "sparse has not checked $1"
                        return 1
                }
                comm -23 <(sparse_warnings "$kind" "$1") \
                        <(if grep -qxF -- "$object" "$SPARSE/stock"; then sparse_warnings stock "$1"; fi) > "$SPARSE/new"
                [ -s "$SPARSE/new" ] || return 0
                cat "$SPARSE/new"
                return 1
        done
        [ ! -e "$SPARSE/${object//\//_}.missed" ] || {
                cat "$SPARSE/${object//\//_}.missed"
                return 1
        }
}

# builds KIND OBJECT: whether it is a part of that kernel. The object itself does not exist
# if the image came from the cache, so kbuild's own lists are used, once for each folder.
builds() {
        local dir=${2%/*} list
        list=$SPARSE/$1-${dir//\//_}
        if [ ! -e "$list" ]; then
                make -s -C "$CACHE/tree/$1/linux" -f "$BED/objects.mk" dir="$dir" 2> /dev/null < /dev/null > "$list" || true
        fi
        grep -qxF -- "$2" "$list"
}

# guest_scripts [--long] [--release N] [--env NAME=VALUE] [SCRIPT...]: tests/guest/*.sh,
# or these, each in a systemd guest of its own; with --long, also those that take longer or
# need another kernel. The guest has Debian N, by default the machine's own release.
guest_scripts() {
        local args=() kind kinds=mshare long=() scripts release=
        while true; do
                case ${1:-} in
                --long) long=(--long) ;;
                --release)
                        release=$2
                        args+=(--release "$2")
                        shift
                        ;;
                --env)
                        args+=(--env "$2")
                        shift
                        ;;
                *) break ;;
                esac
                shift
        done
        scripts=("$@")
        if [ $# -gt 0 ]; then args+=(--named); else scripts=("$ROOT"/tests/guest/*.sh); fi
        guests_need
        if ! compgen -G "$ROOT/tests/guest/*.sh" > /dev/null; then
                say '    there is no tests/guest/*.sh: nothing to count'
                return 0
        fi
        if [ ${#long[@]} -gt 0 ]; then
                kinds='mshare debug stock'
        else
                for kind in debug stock; do
                        if grep -q "^# kernel: $kind" "${scripts[@]}"; then kinds+=" $kind"; fi
                done
        fi
        for kind in $kinds; do
                kernel "$kind"
                args+=("--$kind" "$KERNEL")
        done
        rootfs "$release"
        overlay "$release"
        if [ ${#long[@]} -gt 0 ]; then overlay_long; fi
        counted "$BED/scripts.py" "${long[@]}" "${args[@]}" --root "$ROOTFS" --overlay "$OVERLAY" --cache "$CACHE" \
                --patched "$(is_patched mshare && echo yes || echo no)" \
                --results "$RESULTS" "${scripts[@]}"
}

# postgres_on RELEASE [NAME=VALUE]: tests the unmodified PostgreSQL of that release.
postgres_on() {
        local rc=0
        overlay "$1" || rc=$?
        if [ $rc = 77 ]; then
                point "guest postgres.sh on Debian $1" 'PostgreSQL' skip "$(sed -n 's/^bare-root: //p' "$OVERLAY.log" | head -n 1)"
                return
        fi
        [ $rc = 0 ] || return $rc
        guest_scripts --release "$1" ${2:+--env "$2"} "$ROOT/tests/guest/postgres.sh"
}

# overlay_long: adds trinity, which only --long uses, so that the other guests stay
# small; sets $OVERLAY. If this release of Debian lacks trinity, it is left out.
overlay_long() {
        local work
        work=$(mktemp -d)
        cp "$OVERLAY" "$work/overlay.tar"
        if (cd "$work" && apt-get download trinity) > "$CACHE/trinity.log" 2>&1; then
                dpkg-deb --fsys-tarfile "$work"/trinity_*.deb |
                        tar -C "$work" -xf - ./usr/bin/trinity &&
                        tar -C "$work" --owner=0 --group=0 -rf "$work/overlay.tar" ./usr/bin/trinity
        else
                say "    no trinity: see $CACHE/trinity.log"
        fi
        OVERLAY=$ROOT/build-run/overlay-long.tar
        mv "$work/overlay.tar" "$OVERLAY"
        rm -rf "$work"
}

# fuzz SEED PTI LA57: the random operations, as many of each mode as
# MSHARE_FUZZ_STEPS says, and a thousand sharers on the debug kernel.
fuzz() {
        local list rc=0 steps=${MSHARE_FUZZ_STEPS:-250000}
        list=$(mktemp)
        echo "mshare_fuzz - 28800 env=MSHARE_SEED=$1 env=MSHARE_FUZZ_STEPS=$steps" > "$list"
        echo 'mshare_hostile - 3600 env=MSHARE_FUZZ_MS=600000' >> "$list"
        echo 'mshare_fork - 1600 env=MSHARE_FORKS=1000' >> "$list"
        guests_need
        kernel debug
        initramfs
        # No sources: only the programs of the list.
        counted "$BED/suite.py" --kernel "$KERNEL" --kind debug --initrd "$INITRD" --cache "$CACHE" \
                --list "$list" --sources /nonexistent --results "$RESULTS" --which shared --patched yes \
                --pti "$2" --la57 "$3" || rc=$?
        rm -f "$list"
        return $rc
}

# coverage: the lines of the kernel half that its selftests reach, in all boots of one
# corner together.
coverage() {
        local counts which rc=0
        guests_need
        kernel coverage
        initramfs
        counts=$(mktemp -d)
        for which in shared alone; do
                counted "$BED/suite.py" --kernel "$KERNEL" --kind coverage --initrd "$INITRD" --cache "$CACHE" \
                        --list "$ROOT/tests/kernel/selftests.list" --sources "$SELFTESTS" --results "$RESULTS" \
                        --which $which --patched yes --pti off --la57 on --coverage "$counts" || rc=$?
        done
        bed_script tests/kernel/coverage.py --notes "$KERNEL" --data "$counts" \
                --list "$ROOT/tests/kernel/uncovered.list" || rc=$?
        rm -rf "$counts"
        return $rc
}

# races: all reports of data races in all boots of one corner, except those of stock code that the list names.
races() {
        local which
        bed_script tests/bed/races-test.py
        for which in shared alone; do
                selftests kcsan "$which" --pti off --la57 on --races "$ROOT/tests/kernel/races.list"
        done
}

# Phases for which continuous integration has no time. The four halves of the fuzzing
# are a million operations.
plan_long() {
        local corner geometry name release
        plan tlb-model 'the TLB protocol, large models' 600 bed_script build-run/clang/tests/kernel/model/tlb-model --long
        plan counts 'faults, bytes, interrupts and instructions against those recorded' 4800 check counts 'as in doc/results' \
                "$ROOT/run" bench --check
        after mshare-kernel
        plan mutations 'faults put into the kernel half' 3600 bed_script tests/kernel/mutations/run.sh
        plan stock-kernel 'the stock kernel' "$(built stock 300)" build_kind stock
        for corner in 'on on' 'on off' 'off off'; do
                plan "rest-pti-${corner% *}-la57-${corner#* }" \
                        "the other kernel selftests on debug, pti ${corner% *}, la57 ${corner#* }" 240 \
                        selftests debug rest --pti "${corner% *}" --la57 "${corner#* }"
        done
        plan_corner on on --geometry unit
        plan_corner off off
        for geometry in unit mixed; do
                plan "geometry-$geometry" "kernel selftests on debug, geometry $geometry" 600 \
                        selftests debug shared --pti off --la57 on --geometry $geometry
        done
        plan off-kernel 'the kernel with mshare switched off' "$(built off 360)" build_kind off
        plan coverage-kernel 'the kernel that counts the lines it executes' "$(built coverage 480)" build_kind coverage
        plan coverage 'lines of the kernel half that the selftests reach' 800 coverage
        after coverage-kernel
        plan kcsan-kernel 'the kernel that notices data races' "$(built kcsan 480)" build_kind kcsan
        plan races 'data races while the selftests run (KCSAN)' 900 races
        after kcsan-kernel
        plan lean-kernel 'the lean kernel' "$(built lean 360)" build_kind lean
        plan lean 'kernel selftests on lean' 180 selftests lean shared
        plan mm-selftests "the kernel's own mm selftests, stock against mshare" 3600 bed_script tests/kernel/mm-selftests.sh
        plan fuzz-1 'random operations, pti off, la57 on' 4000 fuzz 1001 off on
        plan fuzz-2 'random operations, pti on, la57 off' 4000 fuzz 2002 on off
        plan bare 'both commands in minimal roots of Debian 12 and 13' 14400 bed_script tests/bed/test-bare.sh
        plan cockpit 'the page for Cockpit, in a browser' 300 bed_script tests/cockpit/page-in-root.sh
        plan packages 'Debian packages of 12 and 13: reproducible, and lintian' 600 test_builds 12 13
        for name in $(debian_tests); do
                for release in 12 13; do
                        plan "packages-$name-$release" "Debian packages on a bare server of Debian $release: $name" 1200 \
                                test_packages "$name" "$release" daemon broker
                done
        done
        plan packages-by-hand 'what Meson installs, on a server without our packages' 300 test_by_hand daemon broker
        for release in 12 13; do
                plan "server-$release" "a server of Debian $release: the packaged kernel, booted by GRUB, and PostgreSQL" 1800 test_server "$release"
        done
        for release in "${RELEASES[@]}"; do
                plan "postgresql-$release" "mshare-postgresql on PostgreSQL of Debian $release" 120 bed_script tests/postgresql/tool-in-root.sh "$release"
        done
        # Version 18 reads with workers, or with rings in the shared memory.
        plan guest-postgres-12 'PostgreSQL of Debian 12 in a region' 600 postgres_on 12
        plan guest-postgres-13 'PostgreSQL of Debian 13 in a region' 600 postgres_on 13
        plan guest-postgres-worker 'PostgreSQL of Debian testing in a region, io_method worker' 600 postgres_on testing IO_METHOD=worker
        plan guest-postgres-io-uring 'PostgreSQL of Debian testing in a region, io_method io_uring' 600 postgres_on testing IO_METHOD=io_uring
        plan guest-scripts-long 'the system in the guest, at length' 10800 guest_scripts --long
}
