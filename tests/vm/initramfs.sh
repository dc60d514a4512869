# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The selftest guest: an initramfs of busybox, the agent and the kernel
# selftests in /tests; sourced after lib.sh and kernel/build.sh.

VM=$ROOT/tests/vm
SELFTESTS=$ROOT/kernel/files/tools/testing/selftests/mm

# initramfs: build it if need be; sets $INITRD.
initramfs() {
        local inputs
        need_packages 'make the selftest guest' busybox-static cpio gcc libc6-dev
        [ -n "${KSRC:-}" ] || kernel_source
        inputs=("$VM/initramfs.sh" "$VM"/guest/init "$VM"/guest/agent "$VM"/guest/suite /bin/busybox)
        mapfile -t -O ${#inputs[@]} inputs < <(
                find "$SELFTESTS" "$KDIR/files/include/uapi" -name '*.[ch]' 2> /dev/null | LC_ALL=C sort)
        INITRD=$CACHE/initramfs/$(content_hash "${inputs[@]}").cpio
        if [ ! -e "$INITRD" ]; then with_lock initramfs build_initramfs; fi
        touch "$INITRD"
}

build_initramfs() {
        local tree source name
        [ -e "$INITRD" ] && return
        mkdir -p "$CACHE/initramfs"
        tree=$(mktemp -d)
        # shellcheck disable=SC2064
        trap "rm -rf '$tree'" RETURN

        mkdir -p "$tree"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,run,mnt,root,etc,lib,tests,var/tmp}
        # mktemp's 0700 would keep everybody but root out of the guest's /.
        chmod 755 "$tree"
        chmod 1777 "$tree/tmp" "$tree/var/tmp"
        cp /bin/busybox "$tree/bin/busybox"
        # No name may hide the agent's own.
        for name in $(/bin/busybox --list); do
                [ -e "$tree/bin/$name" ] || ln -s /bin/busybox "$tree/bin/$name"
        done
        printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/bin/sh \
                user:x:1000:1000:user:/tmp:/bin/sh > "$tree/etc/passwd"
        printf '%s\n' root:x:0: tty:x:5: nogroup:x:65534: user:x:1000: > "$tree/etc/group"
        install -m 755 "$VM/guest/init" "$tree/init"
        install -m 755 "$VM/guest/agent" "$tree/lib/agent"
        install -m 755 "$VM/guest/suite" "$tree/tests/suite"

        for source in "$SELFTESTS"/mshare_*.c; do
                [ -e "$source" ] || continue
                name=$(basename "$source" .c)
                # A file without main() is a part of the others, not a program.
                grep -qE 'TEST_HARNESS_MAIN|\bmain[[:space:]]*\(' "$source" || continue
                # One broken test must not keep the others from running; the suite
                # reports the missing program, with what the compiler said.
                if ! selftest_cc "$source" "$tree/tests/$name" 2> "$tree/tests/$name.err"; then
                        say "warning: this kernel selftest does not compile: $name.c"
                        rm -f "$tree/tests/$name"
                fi
                [ -s "$tree/tests/$name.err" ] || rm "$tree/tests/$name.err"
        done

        (cd "$tree" && find . -print0 | LC_ALL=C sort -z | cpio -0 -o -H newc -R 0:0 --quiet) > "$INITRD.partial"
        mv "$INITRD.partial" "$INITRD"
        keep_newest 5 "$CACHE"/initramfs/*.cpio
}

# selftest_cc SOURCE OUTPUT: static, so that the guest needs no library. The
# project's uapi header comes first, then the harness of the pristine tree.
selftest_cc() {
        gcc -static -O2 -Wall -pthread -D_GNU_SOURCE= -DKSFT_SKIP=4 \
                -I"$KDIR/files/include/uapi" -I"$KSRC/tools/testing/selftests" -I"$SELFTESTS" \
                -o "$2" "$1"
}
