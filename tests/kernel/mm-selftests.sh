#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The kernel's own selftests/mm: what passes on the stock kernel passes on the
# mshare kernel. Builds both kernels and the programs if need be. Speaks TAP.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/bed/lib.sh"
. "$ROOT/kernel/build.sh"
. "$ROOT/bed/initramfs.sh"

# mm_selftests: compile them if needed; sets $MM to a directory with the programs and a disk image that contains them.
mm_selftests() {
        need_packages "compile the kernel's own mm selftests" gcc make rsync libc6-dev \
                libcap-dev libnuma-dev liburing-dev bash-static e2fsprogs
        kernel_source
        MM=$CACHE/mm-selftests/$(content_hash "$ROOT/tests/kernel/mm-selftests.sh" \
                "$KSRC"/tools/testing/selftests/*.* "$KSRC"/tools/testing/selftests/mm/*)
        if [ ! -d "$MM" ]; then with_lock mm-selftests build_mm_selftests; fi
        touch "$MM"
}

# In a copy, because they write next to their source. Static, so that the guest needs no library. KSFT_SKIP:
# khugepaged.c of some 6.12.y does not include the header that defines it.
build_mm_selftests() {
        local work=$CACHE/mm-selftests/work log=$CACHE/mm-selftests/build.log
        [ -d "$MM" ] && return
        step "compiling the kernel's own mm selftests (1 minute)"
        rm -rf "$work"
        mkdir -p "$work/files/mm"
        cp -al "$KSRC" "$work/linux"
        if ! {
                make -s -C "$work/linux" -j"$JOBS" ARCH=x86_64 headers &&
                        make -C "$work/linux/tools/testing/selftests/mm" -j"$JOBS" OUTPUT="$work/files/mm" \
                                EXTRA_CFLAGS='-static -s -DKSFT_SKIP=4'
        } > "$log" 2>&1 < /dev/null; then
                grep -E 'error|Error' "$log" >&2 || true
                die "the kernel's mm selftests do not compile; whole log: $log"
        fi
        rm -rf "$work/linux"
        cp "$KSRC"/tools/testing/selftests/mm/va_high_addr_switch.sh /bin/bash-static "$work/files/mm/"
        mkfs.ext4 -q -E root_owner=0:0 -d "$work/files" "$work/disk" 1G > "$log" 2>&1
        mv "$work" "$MM"
        keep_newest 2 "$CACHE"/mm-selftests/*[0-9a-f]
}

need_packages 'run the guests' qemu-system-x86 python3
kernel stock
stock=$KERNEL
kernel mshare
initramfs
mm_selftests
exec "$ROOT/tests/kernel/mm-selftests.py" --stock "$stock" --mshare "$KERNEL" --initrd "$INITRD" --programs "$MM/files/mm" \
        --disk "$MM/disk" --cache "$CACHE" --list "$ROOT/tests/kernel/mm-selftests.list" "$@"
