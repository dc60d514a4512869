# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ./run test, phase by phase; sourced by run after its libraries. A phase never
# stops the run: what it finds is written to $RESULTS, and the sum comes last.

# point PHASE NAME pass|fail|skip [WHY]: a line as report.py reads and writes it. To start Python for
# each takes longer than some checks.
point() { printf '%s\t%s\t%s\n' "$3" "$1" "$2${4:+ ($4)}" >> "$RESULTS"; }

# counted COMMAND...: for a command that counts its failures itself and then exits with
# 3. Any other status except 0 means that it failed before.
counted() {
        local rc=0
        "$@" || rc=$?
        [ $rc = 3 ] || return $rc
}

# cpu_time: sets $CPU_TIME to the seconds of CPU time that this shell's children took.
# The kernel has 100 ticks per second on x86. Not in a subshell: it has no children of its own.
cpu_time() {
        local stat
        read -r -a stat < "/proc/$BASHPID/stat"
        CPU_TIME=$(((stat[15] + stat[16]) / 100))
}

# phase TITLE USUAL COMMAND...: runs it in a subshell and prints its time. A phase that ends
# with an error is one more failure.
phase() {
        local title=$1 usual=$2 begin cpu rc=0
        shift 2
        begin=$(date +%s)
        cpu_time
        cpu=$CPU_TIME
        step "$title ($usual)"
        # In a subshell, so that "die" ends only the phase. Under "||" set -e is off, so
        # each phase returns its errors itself.
        ("$@") < /dev/null || rc=$?
        [ $rc = 0 ] || point "$title" 'the phase itself' fail "exit status $rc"
        cpu_time
        say "    $(($(date +%s) - begin)) s, $((CPU_TIME - cpu)) s of CPU time"
}

# check PHASE NAME COMMAND...: counts one pass or one failure, and prints the output of a failure.
check() {
        local phase=$1 name=$2 log
        shift 2
        log=$(mktemp)
        if "$@" > "$log" 2>&1; then
                point "$phase" "$name" pass
        else
                point "$phase" "$name" fail
                say "    FAILED: $phase: $name"
                head -n 60 "$log" | show
        fi
        rm -f "$log"
}

# Files of the tree, committed or not ignored.
tree_files() { (cd "$ROOT" && git ls-files -co --exclude-standard -- "$@" | LC_ALL=C sort -u | while read -r f; do [ ! -f "$f" ] || echo "$f"; done); }

shell_scripts() {
        tree_files | while read -r file; do
                case $file in
                *.patch | LICENSES/*) continue ;;
                *.sh | *.bash) echo "$file" ;;
                *) if head -n 1 "$ROOT/$file" | grep -qE '^#!.*/(env )?(ba|da)?sh( |$)|^# shellcheck shell='; then echo "$file"; fi ;;
                esac
        done
}

c_sources() { tree_files '*.c' | grep -v '^kernel/' || true; }

# leaving_out 'SUITE...' COMMAND...: runs the command without these suites of Meson tests.
leaving_out() {
        local suite LEAVE_OUT=()
        for suite in $1; do LEAVE_OUT+=(--no-suite ":$suite"); done
        "${@:2}"
}
LEAVE_OUT=()

# test_plan [quick|long]: the phases, in order.
test_plan() {
        # The model is never compiled with sanitizers, so the phase "clang" has run the same.
        local part=$1 sanitized='sources model'
        # With sanitizers and valgrind the broker's tests are slow, so they run on one bus. Otherwise they run on both.
        if [ "$part" != long ]; then sanitized+=' dbus-broker'; fi
        if [ "$part" != quick ]; then plan_kernels; fi
        plan shell 'shell scripts' 10 lint_shell
        plan python 'Python: pyflakes and mypy' 10 lint_python
        plan series-tool 'the patch series tool' 10 bed_script tests/bed/test-series.sh
        plan bench-tool 'what compares counts of benchmarks' 2 bed_script tests/bench/check-test.py
        # Where another phase runs the broker's tests with sanitizers, this one leaves out those that would test the same.
        if [ "$part" = quick ]; then
                plan clang 'userspace: clang' 130 userspace clang clang --werror
        else
                plan clang 'userspace: clang' 130 leaving_out as-sanitized userspace clang clang --werror
        fi
        if [ "$part" != quick ]; then
                # Start the longest phase early, so that it does not run alone at the end.
                plan valgrind 'userspace: gcc, valgrind' 240 under_valgrind
                plan_guests
                plan asan 'userspace: gcc, ASan and UBSan' 240 leaving_out "$sanitized" userspace asan gcc --werror \
                        -Db_sanitize=address,undefined -Db_lundef=false
                plan tidy 'userspace: clang-tidy' 30 lint_tidy
                after clang
                plan cppcheck 'userspace: cppcheck' 20 lint_cppcheck
        fi
        plan checkpatch 'kernel files: checkpatch' 20 lint_checkpatch
        if [ "$part" = long ]; then plan_long; fi
}

# long_keys: the phases that only --long has. In a subshell, it does not change the plan.
long_keys() {
        PLAN_KEYS=()
        plan_long
        echo "${PLAN_KEYS[*]}"
}

# test_all PART [PHASE...]: all phases of that part, or only these.
test_all() {
        local part=$1 begin key cpu
        shift
        test_plan "$part"
        for key in "$@"; do
                if [ "$part" != long ] && [[ " $(long_keys) " == *" $key "* ]]; then
                        usage_error "test: '$key' is a phase of --long: run test --long $key"
                fi
                one_of 'test' "$key" "${PLAN_KEYS[@]}" kernel broker userspace guest
        done
        test_begins
        begin=$(date +%s)
        cpu_time
        cpu=$CPU_TIME
        # Each phase is a subshell, and those with a guest of Debian need it.
        if [ "$part" != quick ] && [ $# = 0 ]; then own_sources; fi
        run_plan "$@"
        cpu_time
        say "==> all phases: $(($(date +%s) - begin)) s, $((CPU_TIME - cpu)) s of CPU time on $(nproc) CPUs"
        "$BED/report.py" sum "$RESULTS"
}

# test_begins: prepares what each run of tests needs; sets $RESULTS.
test_begins() {
        RESULTS=$(mktemp)
        export RESULTS
        trap 'rm -f "$RESULTS" "$RESULTS.said"' EXIT
        userspace_needs 'run the tests'
        # procps: pgrep. systemd: busctl, systemd-analyze and systemd-socket-activate,
        # none of which need it to run. man-db, zsh: they read manual pages and
        # completions. binutils: nm.
        need_packages 'run the tests' git clang g++ binutils procps systemd \
                dbus-daemon dbus-broker polkitd python3-dbusmock python3-dbus python3-gi \
                valgrind clang-tidy cppcheck shellcheck sparse mandoc man-db zsh e2fsprogs "$(clang_runtime)"
        # Without these two, the phase that uses them is skipped with a message.
        (need_packages 'check Python' pyflakes3 mypy) || true
        need_formatter
        need_postgresql
}

# need_formatter: clang-format 14, for tests/format.sh. Other releases than Debian 12 do not have that version, and
# others break some lines elsewhere.
need_formatter() {
        # shellcheck source=/dev/null
        [ "$(. /etc/os-release && echo "${VERSION_ID:-}")" = 12 ] || return 0
        need_packages 'check the format of C' clang-format
        export MSHARE_NEEDS_FORMATTER=1
}

# need_postgresql: for the test that runs it on a bus of its own. No cluster is
# made on this machine and no server started.
need_postgresql() {
        local settings=/etc/postgresql-common
        if is_installed postgresql || [ -n "$NO_INSTALL" ]; then return; fi
        if [ ! -e $settings ]; then
                as_root mkdir $settings
                echo 'create_main_cluster = false' | as_root tee $settings/createcluster.conf > /dev/null
        fi
        need_packages 'run a PostgreSQL of a test' postgresql
        # Packages that are installed later get a cluster as usual.
        as_root cp /usr/share/postgresql-common/createcluster.conf $settings/
}

# clang's sanitizer runtime is packaged by version.
clang_runtime() {
        local version
        if [ -z "$NO_INSTALL" ]; then apt_lists || true; fi
        version=$(apt-cache depends clang 2> /dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
        echo "libclang-rt-${version:-14}-dev"
}

# A clean script is not checked again until it or the checker changes, or any script that
# others source. Those without "#!" are sourced.
lint_shell() {
        local clean=$CACHE/shellcheck common file files memo memos=() unknown=()
        mkdir -p "$clean"
        find "$clean" -type f -mtime +30 -delete
        mapfile -t files < <(shell_scripts)
        common=$({
                declare -f shellcheck_all
                shellcheck --version
                cat "$ROOT/.shellcheckrc"
                for file in "${files[@]}"; do [ "$(head -c 2 "$ROOT/$file")" = '#!' ] || sha256sum "$ROOT/$file"; done
        } | sha256sum)
        for file in "${files[@]}"; do
                memo=$clean/$({ echo "$common $file"; cat "$ROOT/$file"; } | sha256sum | cut -c1-32)
                if [ ! -e "$memo" ]; then unknown+=("$file") memos+=("$memo"); fi
        done
        check shellcheck "${#files[@]} scripts" shellcheck_all "${unknown[@]}"
        # A failure is the newest point.
        if [ ${#memos[@]} -gt 0 ] && tail -n 1 "$RESULTS" | grep -q '^pass'; then touch "${memos[@]}"; fi
}

# Sourced files are checked where they are sourced; paths start at the top.
shellcheck_all() { [ $# = 0 ] || { cd "$ROOT" && shellcheck -x -P "$ROOT" "$@"; }; }

python_files() {
        tree_files | while read -r file; do
                case $file in
                *.py) echo "$file" ;;
                *) if head -n 1 "$ROOT/$file" | grep -qE '^#!.*python'; then echo "$file"; fi ;;
                esac
        done
}

# pyflakes checks all Python. mypy checks files that others import or ./run starts; in
# these every function has types.
lint_python() {
        local files engines tool
        for tool in pyflakes3 mypy; do
                if command -v $tool > /dev/null; then continue; fi
                point python 'pyflakes and mypy' skip "$tool is not installed and cannot be"
                return
        done
        mapfile -t files < <(python_files)
        mapfile -t engines < <(printf '%s\n' "${files[@]}" | grep -E '^(bed/.*|tests/((daemon|cockpit)/[a-z_]+|bench/check|kernel/mm-selftests)\.py)$')
        check python "pyflakes: ${#files[@]} files" in_tree pyflakes3 "${files[@]}"
        check python "mypy: ${#engines[@]} files" in_tree mypy --config-file tests/mypy.ini "${engines[@]}"
}

in_tree() { cd "$ROOT" && "$@"; }

# bed_script SCRIPT ARGS...: a script of the test bed itself; speaks TAP.
bed_script() {
        local log rc=0
        log=$(mktemp)
        "$ROOT/$1" "${@:2}" > "$log" || rc=$?
        "$BED/report.py" tap "$RESULTS" "${1##*/}" "$rc" < "$log" || {
                rc=$?
                grep -vE '^ok ' "$log" | show
                rm -f "$log"
                [ $rc = 3 ]
                return
        }
        rm -f "$log"
}

# meson_test NAME PHASE ARGS...: run the tests of that build and count them. Most of
# them wait for a bus, a process or a time limit: twice as many at once as there are CPUs.
meson_test() {
        local dir=$ROOT/build-run/$1 phase=$2 rc=0
        shift 2
        rm -f "$dir"/meson-logs/testlog*
        meson test -C "$dir" --no-rebuild --num-processes $((2 * JOBS)) -t 2 "$@" > "$dir/test.log" 2>&1 || rc=$?
        local log
        log=$(find "$dir/meson-logs" -name 'testlog*.json' 2> /dev/null | head -n 1)
        if [ -s "$log" ]; then
                "$BED/report.py" meson "$RESULTS" "$phase" "$log" || { [ $? = 3 ]; return; }
        elif grep -qE 'No tests defined|No suitable tests' "$dir/test.log"; then
                say '    there are no such tests: nothing to count'
                return 0
        fi
        [ $rc = 0 ] || {
                tail -n 30 "$dir/test.log" | show
                return 1
        }
}

# userspace NAME COMPILER OPTIONS...: build and test.
userspace() {
        local name=$1
        meson_build "$@" || return 1
        point "$name" 'builds without a warning' pass
        # Leaks are errors, and undefined behaviour aborts the program.
        ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:strict_string_checks=1 \
                UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
                meson_test "$name" "$name" "${LEAVE_OUT[@]}"
}

under_valgrind() {
        meson_build gcc gcc --werror --buildtype=debugoptimized || return 1
        point gcc 'builds without a warning' pass
        # Programs of the build and their children, but not those of the system, nor Python, wherever it is. They
        # compute more than they wait. The daemon runs on one bus, because both use the same code.
        MSHARE_VALGRIND=1 meson_test gcc valgrind -t 10 --num-processes "$JOBS" \
                --no-suite :dbus-broker --no-suite :sources --no-suite :cockpit --wrap \
                "valgrind -q --read-inline-info=no --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect --trace-children=yes --trace-children-skip=/usr/*,/bin/*,/sbin/*,*/python3* --gen-suppressions=all --suppressions=$BED/valgrind.supp"
}

# The analysers check what is shipped. Tests are checked by the compilers' warnings, the
# sanitizers and valgrind.
shipped_sources() { c_sources | grep -E '^(base|lib|daemon|region|ctl)/' || true; }

lint_cppcheck() {
        local files
        mapfile -t files < <(shipped_sources)
        check cppcheck "${#files[@]} files" run_cppcheck "${files[@]}"
}

# Leaks: it does not know the cleanup attribute; sanitizers and valgrind look
# for them. readdir, getpwnam, getgrnam: no threads in there.
# internalAstError: a fault of its own parser. It does not read libsystemd's headers, so it does not know SD_BUS_PARAM().
# nullPointerOutOfMemory: it takes mmap() for malloc().
run_cppcheck() {
        local level=()
        # Newer versions look at some branches only, and fail because they say so.
        if cppcheck --help | grep -q -e --check-level; then level=(--check-level=exhaustive); fi
        cd "$ROOT" && cppcheck -q -j "$JOBS" "${level[@]}" --std=c11 --enable=warning,performance,portability \
                --inline-suppr --error-exitcode=1 --library=posix,gnu \
                --include=/usr/include/x86_64-linux-gnu/sys/queue.h \
                --suppress=missingIncludeSystem --suppress=memleak --suppress=resourceLeak \
                --suppress=readdirCalled --suppress=getpwnamCalled --suppress=getgrnamCalled --suppress=internalAstError --suppress=nullPointerOutOfMemory --suppress=unmatchedSuppression \
                -D_GNU_SOURCE '-DMSHARE_VERSION=""' '-DSD_BUS_PARAM(name)=""' -I base -I lib -I daemon -I region -I ctl "$@"
}

# A clean file is not checked again until it, the compiler's command or any header that it
# reads changes, or clang-tidy does.
lint_tidy() {
        local common entry files=() clean=0 keys
        # Takes no time after the compiler's phase. What a file reads is known when it is built.
        meson_build clang clang --werror || return 1
        export CLEAN=$CACHE/tidy
        mkdir -p "$CLEAN"
        find "$CLEAN" -type f -mtime +30 -delete
        common=$({ declare -f run_tidy; clang-tidy --version; cat "$ROOT/.clang-tidy"; } | sha256sum)
        mapfile -t files < <(shipped_sources)
        keys=$(in_tree "$BED/tidy_keys.py" build-run/clang "$common" "${files[@]}") || return 1
        files=()
        for entry in $keys; do
                if [ -e "$CLEAN/${entry%%:*}" ]; then clean=$((clean + 1)); else files+=("$entry"); fi
        done
        check clang-tidy "$((clean + ${#files[@]})) files" run_tidy "${files[@]}"
}

# One file at a time: clang 14's analyser mixes up the va_lists of several.
run_tidy() {
        [ $# -gt 0 ] || return 0
        # shellcheck disable=SC2016 # the inner shell expands it
        cd "$ROOT" && printf '%s\0' "$@" | xargs -0 -r -P "$JOBS" -n 1 sh -c '
                clang-tidy --quiet -p build-run/clang --warnings-as-errors="*" "${1#*:}" 2> /dev/null &&
                        : > "$CLEAN/${1%%:*}"' tidy
}

# New files completely, changes to existing files as patches. A clean file is not
# checked again until it changes, or checkpatch does.
lint_checkpatch() {
        local file
        kernel_source
        check series 'every file of kernel/files and kernel/patches is named once' "$KDIR/series.sh" check
        export KSRC ROOT CLEAN=$CACHE/checkpatch
        mkdir -p "$CLEAN"
        find "$CLEAN" -type f -mtime +30 -delete
        COMMON=$({ declare -f checkpatch; cat "$KSRC"/scripts/{checkpatch.pl,spelling.txt,const_structs.checkpatch}; } | sha256sum)
        export COMMON
        export -f checkpatch checkpatch_once
        # Check several at once; clean files are then counted from the memo.
        tree_files 'kernel/files/*.c' 'kernel/files/*.h' 'kernel/patches/*.patch' 'kernel/bed/*.patch' |
                xargs -r -P "$JOBS" -n 1 bash -c 'checkpatch_once "$1" > /dev/null 2>&1' checkpatch || true
        while read -r file; do
                check checkpatch "$file" checkpatch_once "$file"
        done < <(tree_files 'kernel/files/*.c' 'kernel/files/*.h' 'kernel/patches/*.patch' 'kernel/bed/*.patch')
}

checkpatch_once() {
        local memo args=()
        memo=$CLEAN/$({ echo "$COMMON $1"; cat "$ROOT/$1"; } | sha256sum | cut -c1-32)
        case $1 in *.patch) ;; *) args=(-f) ;; esac
        if [ -e "$memo" ]; then return; fi
        checkpatch "${args[@]}" "$ROOT/$1" && : > "$memo"
}

# CAMELCASE: names of the selftest harness. FILE_PATH_CHANGES: there is no
# MAINTAINERS entry outside the kernel's own tree. ENOSYS: a test that looks for
# it recognizes a kernel without mshare that way. MISSING_SIGN_OFF: only a person
# may certify the origin of a patch, and the person that sends the series does.
checkpatch() {
        local ignore=CAMELCASE,FILE_PATH_CHANGES,ENOSYS,MISSING_SIGN_OFF
        # TRACE_EVENT() is written like this everywhere.
        case ${*: -1} in */include/trace/events/*) ignore+=,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT ;; esac
        (cd "$KSRC" && perl scripts/checkpatch.pl --strict --terse -q --no-summary --ignore "$ignore" "$@")
}

. "$ROOT/bed/plan.sh"
. "$ROOT/bed/test-guests.sh"
