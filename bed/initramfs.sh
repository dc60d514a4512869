# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The selftest guest: an initramfs of busybox, the agent and the kernel
# selftests in /tests; sourced after lib.sh and kernel/build.sh.

SELFTESTS=$ROOT/kernel/files/tools/testing/selftests/mm

# initramfs: build it if needed; sets $INITRD.
initramfs() {
        local inputs
        need_packages 'make the selftest guest' busybox-static cpio gcc libc6-dev
        [ -n "${KSRC:-}" ] || kernel_source
        inputs=("$BED/initramfs.sh" "$BED"/guest/init "$BED"/guest/agent "$BED"/guest/suite /bin/busybox
                "$ROOT"/tests/kernel/tracing{.sh,-load.c,-rates.c} "$ROOT/doc/tracing.md"
                "$ROOT"/ctl/rates.{c,h} "$ROOT/lib/util.h" "$ROOT/base/macro.h")
        mapfile -t -O ${#inputs[@]} inputs < <(
                find "$SELFTESTS" "$KDIR/files/include/uapi" -name '*.[ch]' 2> /dev/null | LC_ALL=C sort)
        INITRD=$CACHE/initramfs/$(content_hash "${inputs[@]}").cpio
        if [ ! -e "$INITRD" ]; then with_lock initramfs build_initramfs || die 'cannot build the selftest guest (see above)'; fi
        touch "$INITRD"
}

build_initramfs() {
        local tree name
        [ -e "$INITRD" ] && return
        mkdir -p "$CACHE/initramfs"
        tree=$(mktemp -d)
        # shellcheck disable=SC2064
        trap "rm -rf '$tree'" RETURN

        mkdir -p "$tree"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,run,mnt,root,etc,lib,tests,var/tmp}
        # With mktemp's mode 0700, only root could enter the guest's root directory.
        chmod 755 "$tree"
        chmod 1777 "$tree/tmp" "$tree/var/tmp"
        cp /bin/busybox "$tree/bin/busybox"
        # Do not replace a program of the agent.
        for name in $(/bin/busybox --list); do
                [ -e "$tree/bin/$name" ] || ln -s /bin/busybox "$tree/bin/$name"
        done
        printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/sh \
                user:x:1000:1000:user:/tmp:/bin/sh > "$tree/etc/passwd"
        printf '%s\n' root:x:0: tty:x:5: nogroup:x:65534: user:x:1000: > "$tree/etc/group"
        install -m 755 "$BED/guest/init" "$tree/init"
        install -m 755 "$BED/guest/agent" "$tree/lib/agent"
        install -m 755 "$BED/guest/suite" "$tree/tests/suite"
        install -m 755 "$ROOT/tests/kernel/tracing.sh" "$tree/tests/tracing"
        install -m 644 "$ROOT/doc/tracing.md" "$tree/tests/tracing.md"

        step 'compiling the kernel selftests (about 30 s)'
        # A file without main() is not a program; others include it.
        export -f selftest_cc
        export KDIR KSRC SELFTESTS
        # shellcheck disable=SC2016 # the inner shell expands it
        grep -lE 'TEST_HARNESS_MAIN|\bmain[[:space:]]*\(' "$SELFTESTS"/mshare_*.c 2> /dev/null |
                xargs -r -P "$JOBS" -n 1 bash -c 'selftest_cc "$1" "$0/tests/$(basename "$1" .c)"' "$tree" || true
        selftest_cc "$ROOT/tests/kernel/tracing-load.c" "$tree/tests/tracing-load"
        selftest_cc "$ROOT/tests/kernel/tracing-rates.c" "$tree/tests/tracing-rates" -I"$ROOT/base" -I"$ROOT/lib" -I"$ROOT/ctl"
        selftests_compiled "$tree/tests" || return 1

        (cd "$tree" && find . -print0 | LC_ALL=C sort -z | cpio -0 -o -H newc -R 0:0 --quiet) > "$INITRD.partial"
        mv "$INITRD.partial" "$INITRD"
        keep_newest 5 "$CACHE"/initramfs/*.cpio
}

# selftest_cc SOURCE OUTPUT [OPTION...]: static, so that the guest needs no library. The
# project's uapi header comes first, then the harness of the pristine tree. If it fails,
# the compiler's messages are in OUTPUT.err.
selftest_cc() {
        if ccache gcc -c -O2 -Wall -Werror -pthread -D_GNU_SOURCE= -DKSFT_SKIP=4 \
                -I"$KDIR/files/include/uapi" -I"$KSRC/tools/testing/selftests" -I"$SELFTESTS" \
                "${@:3}" -o "$2.o" "$1" 2> "$2.err" && gcc -static -s -pthread -o "$2" "$2.o" 2>> "$2.err"; then
                rm "$2.err"
        fi
        rm -f "$2.o"
}

# selftests_compiled FOLDER: whether all programs there have compiled; shows the errors of the others.
selftests_compiled() {
        local logs
        logs=("$1"/*.err)
        [ -e "${logs[0]}" ] || return 0
        head -q -n 20 "${logs[@]}" | show
        logs=("${logs[@]##*/}")
        say "run: these programs of the selftest guest do not compile: ${logs[*]%.err}"
        return 1
}
