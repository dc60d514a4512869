#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of the test bed: every promise of "run guest", above all that a run fails if it should. Speaks TAP.
# Commands for the guest's shell are in single quotes:
# shellcheck disable=SC2016
set -u

run=$(cd "$(dirname "$0")/../.." && pwd)/run
work=$(mktemp -d)
bed=$(cd "$(dirname "$0")/../../bed" && pwd)
# Everything that a guest could leave behind has this name.
export TMPDIR=$work
trap 'rm -rf "$work"' EXIT
count=0

result() { # result NAME STATUS: reports a point, and on failure the output of the last run
        count=$((count + 1))
        if [ "$2" = 0 ]; then
                echo "ok $count - $1"
        else
                echo "not ok $count - $1"
                { head -c 2000 "$work/out"; tail -c 6000 "$work/err"; } 2> /dev/null | sed 's/^/# /'
        fi
}

# guest STATUS SWITCHES... -- COMMAND: true if the exit status is that one.
guest() {
        local want=$1 got=0
        shift
        "$run" guest "$@" > "$work/out" 2> "$work/err" < /dev/null || got=$?
        [ $got = "$want" ] || { echo "exit status $got, expected $want" >> "$work/err"; false; }
}
small() { local want=$1; shift; guest "$want" --init selftest "$@"; }
is() { [ "$1" = "$2" ]; }
said() { grep -qE -- "$1" "$work/err"; }
printed() { [ "$(cat "$work/out")" = "$1" ]; }
# When QEMU has exited, its directory is removed, too.
nothing_left() {
        ! pgrep -f "qemu.*$work" > "$work/out" && ! compgen -G "$work/mshare-vm-*" > "$work/out"
}

# --- results are carried out
# Each boot shows as much as it can.
small 42 -- sh -c 'echo hello; echo world >&2; printf "%s|" "$@"; echo; seq 1 200000; exit 42' sh 'a b' "c'd" '$HOME' '' '*'
booted=$?
is $booted 0
result 'exit status 42' $?
is "$(head -n 2 "$work/out")" $'hello\nworld'
result 'output of both kinds comes out' $?
is "$(sed -n 3p "$work/out")" "a b|c'd|\$HOME||*|"
result 'arguments arrive unchanged' $?
is "$(tail -n +4 "$work/out" | md5sum)" "$(seq 1 200000 | md5sum)"
result 'a megabyte of output arrives whole' $?
small 127 -- no-such-command
result 'a command that does not exist' $?
echo 'echo from stdin; sleep 4; echo slept; exit 1' | "$run" guest --init selftest 2> "$work/err" |
        while read -r line; do echo "$(date +%s%N) $line"; done > "$work/out"
is "${PIPESTATUS[1]}" 1
result 'exit status 1' $?
is "$(cut -d' ' -f2- "$work/out")" $'from stdin\nslept'
result 'commands from standard input' $?
# On a busy machine they may be more.
awk 'NR == 1 { begin = $1 } END { exit !(NR == 2 && $1 - begin > 2e9) }' "$work/out"
result 'four seconds of the guest are no less outside' $?

# --- runs that must fail
small 124 --timeout 4 -- sleep 60 && said 'time limit of 4 s'
result 'the time limit ends a run, with a clear message' $?
nothing_left
result 'and leaves nothing behind' $?
small 126 -- sh -c 'poweroff -f; sleep 30' && said 'ended without a result'
result 'a guest that powers off early' $?
small 125 -- sh -c 'echo c > /proc/sysrq-trigger; sleep 30' && said 'complained' && said '^      \| .*RIP:'
result 'a kernel that crashes, and its last words' $?
small 125 -- sh -c 'echo "<4>BUG: Bad rss-counter state mm:0 type:MM_ANONPAGES val:1" > /dev/kmsg' && said 'Bad rss-counter'
result 'a complaint on the console fails a command that succeeds' $?
# One boot has shown that the console is read. What else ends a run needs none.
watch='import sys, vm
guest = vm.Guest(vm.Machine("/nowhere"), "/dev/null")
guest._check_line(sys.argv[1].encode())
guest.done = 0
guest.close()
guest._judge()
sys.exit(guest.result.status)'
watched() { # watched STATUS LINE
        PYTHONPATH=$bed python3 -B -c "$watch" "$2" > "$work/out" 2> "$work/err"
        is $? "$1"
}
for what in 'WARNING: possible circular locking dependency detected' 'BUG: non-zero pgtables_bytes on freeing mm: 4096' \
        'INFO: task x:1 blocked for more than 120 seconds.' 'kmemleak: 3 new suspected memory leaks' \
        'rcu: INFO: rcu_sched self-detected stall on CPU' 'BUG: KASAN: slab-use-after-free in f' 'Oops: 0000 [#1] SMP'; do
        watched 125 "[   12.345678] $what"
        result "the console watch knows: $what" $?
done
watched 0 '[   12.345678] debug: no bug, no warning here'
result 'and nothing else' $?

"$run" guest --init selftest -- sleep 60 > "$work/out" 2> "$work/err" &
for _ in $(seq 100); do
        compgen -G "$work/mshare-vm-*/console.sock" > "$work/out" && break
        sleep 0.2
done
sleep 1
pgrep -f "qemu.*$work" > "$work/out"
result 'a guest runs' $?
kill -KILL $!
wait $! 2> /dev/null
sleep 1
! pgrep -f "qemu.*$work" > "$work/out"
result 'if a run is killed, so is its guest' $?
rm -rf "$work"/mshare-vm-*

# --- and is counted
cat > "$work/count" << 'EOF'
. bed/lib.sh
. bed/test.sh
RESULTS=$1/results
: > "$RESULTS"
failed() { point here name fail; echo why | show; return 3; }
phase one '' true
phase two '' counted failed
phase three '' counted false
both() { point here other fail; counted false; }
phase four '' both
"$BED/report.py" sum "$RESULTS"
EOF
(cd "$bed/.." && BED=$bed bash "$work/count" "$work" > "$work/out" 2> "$work/err")
[ $? = 1 ] && [ "$(tail -n 1 "$work/out")" = '0 passed, 4 failed, 0 skipped' ] &&
        [ "$(grep -c '^  \(three\|four\): the phase itself' "$work/out")" = 2 ] && grep -q '| why$' "$work/out"
result 'a phase that ends early is a failure, whatever else failed' $?
cat > "$work/plan" << 'EOF'
. bed/lib.sh
. bed/test.sh
CACHE=$1/cache RESULTS=$1/results PHASES_AT_ONCE=2
: > "$RESULTS"
# Each says when it begins and when it is over; both is over once the other has begun.
works() { echo "begin $1" >> "$CACHE/order"; sleep "$2"; echo "end $1" >> "$CACHE/order"; check "$1" name true; }
meets() { local n; echo "begin $1" >> "$CACHE/order"; for n in $(seq 100); do grep -q "begin $2" "$CACHE/order" && break; sleep 0.1; done; works "$1" 0; }
mkdir "$CACHE"
plan first First 1 meets first second
plan third Third 1 works third 0
after first second
plan second Second 1 meets second first
plan fourth Fourth 1 bash -c 'exit 5'
# Kills the shell that runs it, which is the parent of its own, while the shell
# that waits for phases shows what another one printed.
killed() { local self=$BASHPID; check fifth name true; until [ -e "$CACHE/shown" ]; do sleep 0.1; done; kill -9 "$(awk '/^PPid:/ { print $2 }' "/proc/$self/status")"; }
plan fifth Fifth 1 killed
plan sixth Sixth 1 works sixth 0
run_plan first second third fourth
cat() { command cat "$@"; : > "$CACHE/shown"; sleep 1; }
run_plan fifth sixth
"$BED/report.py" sum "$RESULTS"
EOF
(cd "$bed/.." && BED=$bed timeout 60 bash "$work/plan" "$work" > "$work/out" 2> "$work/err")
[ $? = 1 ] && [ "$(grep -c '^  \(Fourth\|Fifth\): the phase itself' "$work/out")" = 2 ] &&
        [ "$(grep -n 'begin third' "$work/cache/order" | cut -d: -f1)" -gt "$(grep -n 'end' "$work/cache/order" | sed -n '2s/:.*//p')" ] &&
        tail -n 1 "$work/out" | grep -qx '5 passed, 2 failed, 0 skipped'
result 'phases run two at once, and after those they need' $?
# A build of packages that is killed, and the next one, which fails.
cat > "$work/build" << 'EOF'
. bed/lib.sh
. bed/packages.sh
ROOT=$1/root PACKAGES=$1/root/build-run/packages/here
tree_files() { echo file; }
dpkg-buildpackage() { if [ "$end" = killed ]; then kill -KILL $$ $BASHPID; fi; return 1; }
build_packages_here
EOF
mkdir -p "$work/root/build-run/packages" "$work/tmp"
: > "$work/root/file"
end=killed
for want in 137 1; do
        got=0
        (cd "$bed/.." && end=$end TMPDIR=$work/tmp bash "$work/build" "$work" > "$work/out" 2> "$work/err") 2> /dev/null || got=$?
        [ $got = $want ] && is "$(ls "$work/tmp")" ''
        result "a build of packages that ends with $want leaves no folder among temporary ones" $?
        end=failed
done
is "$(cd "$work/root/build-run/packages" && ls -d here.work 2> /dev/null)" ''
result 'and the next build removes what a killed one has left' $?
# Scripts in one guest, which dies in the second: a stand-in for the guest prints what they would.
mkdir "$work/scripts" "$work/kernel"
for name in one two three; do printf '#!/bin/bash\n# limit: 10\n' > "$work/scripts/$name.sh"; done
echo '# follows: one' >> "$work/scripts/two.sh"
echo '# follows: two' >> "$work/scripts/three.sh"
touch "$work/tap.bash" "$work/overlay" "$work/kernel/release" "$work/kernel/config"
shared='import os, scripts, sys, vm
output, status = sys.argv[1].encode().decode("unicode_escape"), int(sys.argv[2])
class Guest(vm.Guest):
    def run(self, limit, on_output):
        on_output(output.encode())
        self.result.status, self.result.reason = status, f"over after {limit:g} s"
        return self.result
vm.Guest = Guest
work = os.environ["TMPDIR"]
sys.argv[1:] = ["--root=x", f"--overlay={work}/overlay", f"--cache={work}/cache", f"--results={work}/results", "--patched=yes",
                f"--mshare={work}/kernel"] + [f"{work}/scripts/{name}.sh" for name in ("one", "two", "three")]
sys.exit(scripts.main())'
in_one_guest() { # in_one_guest STATUS OUTPUT LINES: what they print becomes these lines of results
        : > "$work/results"
        MSHARE_ACCEL=tcg PYTHONPATH=$bed python3 -B -c "$shared" "$2" "$1" > "$work/out" 2> "$work/err"
        cat "$work/results" >> "$work/err"
        is "$(cat "$work/results")" "$3"
}
in_one_guest 0 '## begin 0\nok 1 - a\n1..1\n\n## end 0 0\n## begin 1\nok 1 - b\n1..1\n## end 1 0\n## begin 2\nok 1 - c\n1..1\n## end 2 0\n' \
        $'pass\tguest one.sh\ta\npass\tguest two.sh\tb\npass\tguest three.sh\tc'
result 'scripts that share a guest are counted one by one' $?
in_one_guest 126 '## begin 0\nok 1 - a\n1..1\n## end 0 0\n## begin 1\nok 1 - b\n' \
        $'pass\tguest one.sh\ta\npass\tguest two.sh\tb\nfail\tguest two.sh\tno TAP plan (exit status 126)\nfail\tguest two.sh\tover after 30 s\nfail\tguest three.sh\tdid not run: over after 30 s'
result 'the one that is at work when the guest dies fails, and those that it has not reached' $?
in_one_guest 0 '## begin 0\nok 1 - a\n1..2\n## end 0 1\n## begin 1\nok 1 - b\n1..1\n## end 1 7\n## begin 2\nok 1 - c\n1..1\n## end 2 0\n' \
        $'pass\tguest one.sh\ta\nfail\tguest one.sh\t2 tests planned, 1 seen (exit status 1)\npass\tguest two.sh\tb\nfail\tguest two.sh\texit status 7 although no test failed\npass\tguest three.sh\tc'
result 'and each by its own exit status' $?
loop='import guest, os, sys
for n in range(300):
    os.getpid = lambda: f"{sys.argv[2]}-{n}"
    open(guest.log_path(sys.argv[1]), "w").close()'
pids=()
for n in 1 2 3; do
        PYTHONPATH=$bed python3 -B -c "$loop" "$work" "$n" >> "$work/err" 2>&1 &
        pids+=($!)
done
bad=0
for pid in "${pids[@]}"; do wait "$pid" || bad=1; done
result 'guests that start at once make room for their logs' $bad

# --- switches
mkdir "$work/dir"
echo in > "$work/dir/in"
small 0 --mount "$work/dir" -c 3 -m 700 --append mshare.test=1 --pti on --la57 on -- sh -c 'cd /mnt/host && cat in && echo out > out
        echo "cpus $(nproc)"; awk "/MemTotal/ { print \"memory\", (\$2 < 720000 && \$2 > 500000) }" /proc/meminfo
        echo "append $(grep -c " mshare.test=1" /proc/cmdline)"
        echo "pti $(dmesg | grep -c "Kernel/User page tables isolation: enabled")"
        echo "la57 $(grep -cw la57 /proc/cpuinfo)"'
booted=$?
shows() { [ $booted = 0 ] && grep -qxE -- "$1" "$work/out"; }
shows in && [ "$(cat "$work/dir/out")" = out ]
result '--mount shows a directory, writable' $?
shows 'cpus 3' && shows 'memory 1'
result '-c and -m' $?
shows 'append 1'
result '--append' $?
shows 'pti 1'
result '--pti on' $?
shows 'la57 3'
result '--la57 on' $?
small 0 --pti off --la57 off -- sh -c 'echo "pti $(dmesg | grep -c "page tables isolation: enabled")"; echo "la57 $(grep -cw la57 /proc/cpuinfo)"'
booted=$?
shows 'pti 0'
result '--pti off' $?
shows 'la57 0'
result '--la57 off' $?
small 0 -- sh -c 'echo "<4>debug: no bug, no warning here" > /dev/kmsg
        for d in /proc /sys /dev/shm /tmp /sys/kernel/debug; do grep -q " $d " /proc/mounts || echo "$d"; done;
        su user -c id | cut -d" " -f1; su nobody -c id | cut -d" " -f1; swapon /dev/swap && grep -c /dev/ /proc/swaps
        i=0; while [ $i -lt 1000 ]; do sleep 20 & i=$((i + 1)); done; ps | grep -c "sleep 20$"'
booted=$?
is $booted 0
result 'a harmless line on the console does not fail a run' $?
is "$(head -n 3 "$work/out")" $'uid=1000(user)\nuid=65534(nobody)\n1'
result 'the selftest guest has mounts, users and swap' $?
[ $booted = 0 ] && [ "$(tail -n 1 "$work/out")" -ge 1000 ]
result 'the selftest guest holds 1000 processes' $?

# A loop of fixed length, timed by the guest's clock, twice.
# What the guest computes, that is: while it boots and talks to the host it waits for that.
loop='now() { grep -m1 now /proc/timer_list; }; now; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; now'
times=()
for _ in 1 2; do
        small 0 --icount -- sh -c "$loop"
        times+=("$(sed -n 's/.*now at \([0-9]*\) nsecs/\1/p' "$work/out" | awk 'NR == 1 { a = $1 } NR == 2 { print $1 - a }')")
done
echo "${times[*]}" > "$work/out"
[ -n "${times[0]}" ] && awk -v a="${times[0]}" -v b="${times[1]}" 'BEGIN { d = a > b ? a - b : b - a; exit !(a > 0 && d / a < 0.02) }'
result '--icount: the guest clock is repeatable within 2 %' $?

# --- wrong usage names what is wrong
wrong() { # wrong WORDS ARGS...
        local words=$1 got=0
        shift
        "$run" "$@" > "$work/out" 2> "$work/err" < /dev/null || got=$?
        [ $got = 2 ] && said "$words"
}
wrong "no such verb: 'gast'" gast
result 'an unknown verb' $?
wrong "Invalid -k 'fast': expected one of: mshare stock debug lean" guest -k fast -- true
result 'an unknown kind of kernel' $?
wrong "Invalid --release '11': expected one of: 12 13 testing" guest --release 11 -- true
result 'an unknown release of Debian' $?
wrong '--release is for --init systemd' guest --init selftest --release 13 -- true
result 'a release for a guest that has no Debian' $?
wrong "unknown switch: '--fast'" guest --fast -- true
result 'an unknown switch of guest' $?
wrong "unknown switch: '--fast'" test --fast
result 'an unknown switch of test' $?
wrong "'cockpit' is a phase of --long: run test --long cockpit" test cockpit
result 'a phase of --long without that switch' $?
wrong '^run: Missing value for -c$' guest -c
result 'a switch without its value' $?
wrong "Invalid -c '99': expected a number from 1 to 8" guest -c 99 -- true
result 'a number out of range' $?
wrong "Invalid --mount '/nowhere': expected a directory" guest --mount /nowhere -- true
result 'a directory that does not exist' $?

"$bed/bare-root" --help > "$work/out" 2> "$work/err" && grep -q '^  --release R' "$work/out" && [ ! -s "$work/err" ] && ! grep -q '^#' "$work/out"
result 'bare-root --help prints how it is used' $?
rc=0
"$bed/bare-root" --release 11 true > "$work/out" 2> "$work/err" < /dev/null || rc=$?
[ $rc = 2 ] && said "^bare-root: --release: no such release: '11'" && said '^Try: bare-root --help$'
result 'bare-root names itself in errors' $?

# --- the debug kernel's own checks, provoked
# In one boot: the last of them ends it.
small 125 -k debug -- sh -c 'for what in WARNING WRITE_AFTER_FREE BUG; do echo $what > /sys/kernel/debug/provoke-crash/DIRECT; sleep 1; done'
booted=$?
complained() { [ $booted = 0 ] && said "^guest kernel: .*$1"; }
complained 'WARNING: .*lkdtm_WARNING'
result 'a WARN in the debug kernel fails the run' $?
complained 'BUG: KASAN: slab-use-after-free'
result 'a use after free fails the run' $?
complained 'kernel BUG at'
result 'a BUG fails the run' $?

# --- the systemd guest
guest 3 -- sh -c 'systemctl is-system-running; busctl list; exit 3'
booted=$?
shows running
result 'systemctl is-system-running prints running' $?
shows 'org\.freedesktop\.PolicyKit1 .*polkitd.*'
result 'busctl list shows polkit' $?
is $booted 0
result 'the systemd guest carries out the exit status' $?
guest 124 --timeout 5 -- sleep 60 && said 'time limit of 5 s'
result 'the systemd guest has a time limit' $?
guest 0 --append mshare.bus=broker -- sh -c 'systemctl is-system-running && systemctl show -P Id dbus.service && pgrep -c dbus-broker' &&
        grep -qx dbus-broker.service "$work/out"
result 'dbus-broker serves as the bus on request' $?
nothing_left
result 'nothing is left behind' $?

echo "1..$count"
