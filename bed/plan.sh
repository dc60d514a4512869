# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The list of phases of ./run test: their names, how long each takes and how much is
# left; and runs of one program or one promise. Sourced by test.sh.

PLAN_KEYS=() PLAN_TITLES=() PLAN_SECONDS=() PLAN_COMMANDS=()

# plan KEY TITLE SECONDS COMMAND...: SECONDS is the time on two quiet CPUs. If the phase
# has run on this machine, its last time is shown instead.
plan() {
        local seconds
        seconds=$(awk -v key="$1" '$1 == key { last = $2 } END { if (last != "") print last }' "$CACHE/phases" 2> /dev/null || true)
        # The time of a build from scratch does not predict that of the next one.
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

# after KEY...: the phase that was planned last starts after these have ended, if they
# are run at all.
after() { PLAN_AFTER[${PLAN_KEYS[-1]}]=" $* "; }
declare -A PLAN_AFTER=()

# Two phases at once, because an emulated guest keeps little more than one CPU busy, and
# so does a program that talks to another one over a bus.
PHASES_AT_ONCE=${MSHARE_PHASES_AT_ONCE:-$(($(nproc) > 1 ? 2 : 1))}

# run_plan [KEY...]: all phases, or these. The output of a phase is shown when it has
# ended, in one piece. A single phase shows its output at once.
run_plan() {
        local i left=0 chosen=()
        for i in "${!PLAN_KEYS[@]}"; do
                if [ $# -gt 0 ] && [[ " $* " != *" ${PLAN_KEYS[i]} "* ]]; then continue; fi
                chosen+=("$i")
                left=$((left + PLAN_SECONDS[i]))
        done
        if [ $# = 0 ]; then
                say "==> ${#chosen[@]} phases, at most $PHASES_AT_ONCE at once, about $(minutes $((left / PHASES_AT_ONCE))) on an idle machine:"
                show_plan >&2
        fi
        mkdir -p "$CACHE"
        if [ ${#chosen[@]} = 1 ]; then run_phase "${chosen[0]}"; else run_phases; fi
        # The newest line of a phase counts.
        if [ "$(wc -l < "$CACHE/phases")" -gt 500 ]; then
                tail -n 100 "$CACHE/phases" > "$CACHE/phases.$$"
                mv "$CACHE/phases.$$" "$CACHE/phases"
        fi
}

# run_phase INDEX
run_phase() {
        local begin
        begin=$(date +%s)
        eval "phase ${PLAN_TITLES[$1]@Q} 'usually $(minutes "${PLAN_SECONDS[$1]}")' ${PLAN_COMMANDS[$1]}"
        echo "${PLAN_KEYS[$1]} $(($(date +%s) - begin))" >> "$CACHE/phases"
}

# run_phases: the phases of $chosen, each as soon as it may start.
run_phases() {
        local logs i pid rc waiting rest
        local -A at_work=()
        logs=$(mktemp -d)
        waiting=" ${chosen[*]} "
        while [ -n "${waiting// /}" ] || [ ${#at_work[@]} -gt 0 ]; do
                while [ ${#at_work[@]} -lt "$PHASES_AT_ONCE" ] && i=$(next_phase); do
                        waiting=${waiting/ $i / }
                        : > "$logs/$i.results"
                        RESULTS=$logs/$i.results run_phase "$i" > "$logs/$i" 2>&1 &
                        at_work[$!]=$i
                done
                # No phase can start and none is running, so two wait for each other.
                [ ${#at_work[@]} -gt 0 ] || die "phases that wait for each other:$waiting"
                pid=$(ended_phase "${!at_work[@]}")
                rc=0
                wait "$pid" || rc=$?
                i=${at_work[$pid]}
                # A phase counts its own failures. Its shell fails only if it is killed.
                if [ $rc != 0 ]; then RESULTS=$logs/$i.results point "${PLAN_TITLES[i]}" 'the phase itself' fail "its shell ended with status $rc"; fi
                unset "at_work[$pid]"
                cat "$logs/$i" >&2
                cat "$logs/$i.results" >> "$RESULTS"
                if [ -e "$logs/$i.results.said" ]; then cat "$logs/$i.results.said" >> "$RESULTS.said"; fi
                left=$((left - PLAN_SECONDS[i]))
                rest=
                for i in "${at_work[@]}"; do rest+=", ${PLAN_TITLES[i]}"; done
                if [ -n "$rest" ]; then say "    about $(minutes $((left > 0 ? left / PHASES_AT_ONCE : 0))) left; running: ${rest#, }"; fi
        done
        rm -rf "$logs"
}

# ended_phase PID...: waits until one of these children has ended. Not "wait -n": if a
# signal kills a child while the shell waits for another command, bash 5.2 forgets that
# child, and then waits for the others, or for nothing.
ended_phase() {
        local pid
        while true; do
                for pid in "$@"; do
                        if ! kill -0 "$pid" 2> /dev/null; then
                                echo "$pid"
                                return
                        fi
                done
                sleep 0.2
        done
}

# next_phase: the first of $waiting that needs no phase which is waiting or running.
next_phase() {
        local i j key
        for i in $waiting; do
                for j in $waiting "${at_work[@]}"; do
                        key=${PLAN_KEYS[j]}
                        if [[ ${PLAN_AFTER[${PLAN_KEYS[i]}]:-} == *" $key "* ]]; then continue 2; fi
                done
                echo "$i"
                return
        done
        return 1
}

# test_list: the values that "run test" takes as a NAME, on standard output.
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
  broker PROMISE...      tests of the broker, on both buses, whose names contain this: a_lease_counts
  userspace TEST...      tests of the userspace part: region, preload, msharectl and so on
  guest SCRIPT...        scripts in the systemd guest:
END
        for script in "$ROOT"/tests/guest/*.sh; do basename "$script" .sh; done | fmt -w 90 | sed 's/^/                           /'
}

# test_some WORD NAME...: run the named ones of one kind.
test_some() {
        local word=$1 name names=()
        shift
        [ $# -gt 0 ] || usage_error "test: '$word' needs a NAME; see: run test --list"
        case $word in
        kernel)
                for name in "$@"; do
                        [ -f "$SELFTESTS/$name.c" ] || [ -f "$ROOT/tests/kernel/$name.sh" ] || usage_error "test: kernel: no such selftest: '$name'; see: run test --list"
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
        "$BED/report.py" sum "$RESULTS"
}

some_selftests() {
        local kind=mshare name
        for name in "$@"; do
                if awk -v name="$name" '$1 == name && $2 == "-" { found = 1 } END { exit !found }' \
                        "$ROOT/tests/kernel/selftests.list"; then kind=debug; fi
        done
        selftests "$kind" only --only "$*" ${MSHARE_GEOMETRY:+--geometry "$MSHARE_GEOMETRY"}
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
        local known name
        meson_build clang clang --werror || return 1
        # Meson passes over names that it does not know. It lists "SUITE / NAME".
        known=$(meson test -C "$ROOT/build-run/clang" --no-rebuild --list 2> /dev/null | sed 's|.* / ||')
        for name in "$@"; do
                if ! grep -qxF -e "$name" <<< "$known"; then
                        point userspace "no such test: '$name'; see: meson test -C build-run/clang --list" fail
                fi
        done
        meson_test clang userspace "$@"
}
