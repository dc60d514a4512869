# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The phases of ./run test as a list: which there are, how long each takes, how
# much is left; and runs of one program or one promise. Sourced by test.sh.

PLAN_KEYS=() PLAN_TITLES=() PLAN_SECONDS=() PLAN_COMMANDS=()

# plan KEY TITLE SECONDS COMMAND...: SECONDS is what it takes on two quiet CPUs.
# Where it has run on this machine, its last time is told instead.
plan() {
        local seconds
        seconds=$(awk -v key="$1" '$1 == key { last = $2 } END { if (last != "") print last }' "$CACHE/phases" 2> /dev/null || true)
        # What a build took from nothing says nothing about the next one.
        case $1 in *-kernel | rootfs) seconds= ;; esac
        PLAN_KEYS+=("$1")
        PLAN_TITLES+=("$2")
        PLAN_SECONDS+=("${seconds:-$3}")
        shift 3
        PLAN_COMMANDS+=("$(printf '%q ' "$@")")
}

minutes() { if [ "$1" -lt 90 ]; then echo "$1 s"; else echo "$((($1 + 30) / 60)) minutes"; fi; }

# show_plan [FIRST]
show_plan() {
        local i
        for ((i = ${1:-0}; i < ${#PLAN_KEYS[@]}; i++)); do
                printf '  %-20s %12s  %s\n' "${PLAN_KEYS[i]}" "$(minutes "${PLAN_SECONDS[i]}")" "${PLAN_TITLES[i]}"
        done
}

# run_plan [KEY...]: all phases, or these.
run_plan() {
        local i left=0 begin took chosen=()
        for i in "${!PLAN_KEYS[@]}"; do
                if [ $# -gt 0 ] && [[ " $* " != *" ${PLAN_KEYS[i]} "* ]]; then continue; fi
                chosen+=("$i")
                left=$((left + PLAN_SECONDS[i]))
        done
        if [ $# = 0 ]; then
                say "==> ${#chosen[@]} phases, about $(minutes $left) on a machine that does nothing else:"
                show_plan >&2
        fi
        for i in "${chosen[@]}"; do
                begin=$(date +%s)
                eval "phase ${PLAN_TITLES[i]@Q} 'usually $(minutes "${PLAN_SECONDS[i]}")' ${PLAN_COMMANDS[i]}"
                took=$(($(date +%s) - begin))
                mkdir -p "$CACHE"
                echo "${PLAN_KEYS[i]} $took" >> "$CACHE/phases"
                left=$((left - PLAN_SECONDS[i]))
                if [ $left -gt 0 ]; then say "    about $(minutes $left) left"; fi
        done
        # The newest line of a phase counts.
        if [ "$(wc -l < "$CACHE/phases")" -gt 500 ]; then
                tail -n 100 "$CACHE/phases" > "$CACHE/phases.$$"
                mv "$CACHE/phases.$$" "$CACHE/phases"
        fi
}

# test_list: what "run test" takes as a NAME, on standard output.
test_list() {
        local script count
        echo 'Phases, with what each takes:'
        test_plan ''
        show_plan
        echo 'Phases with --long:'
        count=${#PLAN_KEYS[@]}
        plan_long
        show_plan "$count"
        cat << 'END'

One program or one promise:
  kernel PROGRAM...      kernel selftests on the mshare kernel, on debug if only that has them:
END
        awk '!/^#/ && NF { print $1 }' "$ROOT/tests/kernel/selftests.list" | fmt -w 90 | sed 's/^/                           /'
        cat << 'END'
  broker PROMISE...      tests of the broker, on both buses, whose names contain this: a_lease_outlives
  userspace TEST...      tests of the userspace half: region, preload, msharectl and so on
  guest SCRIPT...        scripts in the systemd guest:
END
        for script in "$ROOT"/tests/guest/*.sh; do basename "$script" .sh; done | fmt -w 90 | sed 's/^/                           /'
}

# test_some WORD NAME...: of one kind, what is named.
test_some() {
        local word=$1 name names=()
        shift
        [ $# -gt 0 ] || usage_error "test: $word what? See: run test --list"
        case $word in
        kernel)
                for name in "$@"; do
                        [ -f "$SELFTESTS/$name.c" ] || usage_error "test: kernel: no such selftest: '$name'; see: run test --list"
                done
                ;;
        broker)
                for name in "$@"; do
                        if ! [[ $name =~ ^[a-z0-9_]+$ ]] || ! grep -qE "^def test_[a-z0-9_]*$name" "$ROOT"/tests/daemon/broker*-test.py; then
                                usage_error "test: broker: no test in tests/daemon has this in its name: '$name'"
                        fi
                done
                ;;
        guest)
                for name in "$@"; do
                        [ -f "$ROOT/tests/guest/$name.sh" ] || usage_error "test: guest: no such script: '$name'; see: run test --list"
                done
                ;;
        esac
        test_begins
        case $word in
        kernel) phase 'kernel selftests' 'as long as they take' some_selftests "$@" ;;
        broker) phase 'promises of the broker' 'as long as they take' some_promises "$@" ;;
        userspace) phase 'userspace: clang' 'as long as they take' some_userspace "$@" ;;
        guest)
                for name in "$@"; do names+=("$ROOT/tests/guest/$name.sh"); done
                phase 'the system in the guest' 'as long as it takes' guest_scripts "${names[@]}"
                ;;
        esac
        "$VM/report.py" sum "$RESULTS"
}

some_selftests() {
        local kind=mshare name
        for name in "$@"; do
                if awk -v name="$name" '$1 == name && $2 == "-" { found = 1 } END { exit !found }' \
                        "$ROOT/tests/kernel/selftests.list"; then kind=debug; fi
        done
        selftests "$kind" only --only "$*"
}

some_promises() {
        local name script bus args=() rc=0
        for name in "$@"; do args+=(-t "$name"); done
        meson_build clang clang --werror || return 1
        for script in "$ROOT"/tests/daemon/broker*-test.py; do
                grep -qE "^def test_[a-z0-9_]*($(IFS='|'; echo "$*"))" "$script" || continue
                for bus in dbus-daemon dbus-broker; do
                        bed_script "${script#"$ROOT/"}" "$ROOT/build-run/clang/tests/daemon/mshared-test" "$bus" "${args[@]}" || rc=$?
                done
        done
        return $rc
}

some_userspace() {
        meson_build clang clang --werror || return 1
        meson_test clang userspace "$@"
}
