# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian packages of the userspace part; sourced by run after its libraries.
# bed/build-packages makes them, in a minimal root of their release.

verb_packages() {
        local release='' key=''
        while [ $# -gt 0 ]; do
                case $1 in
                --release)
                        with_value "$@"
                        release=$2
                        one_of --release "$release" 12 13
                        shift 2
                        ;;
                --key)
                        with_value "$@"
                        key=$2
                        shift 2
                        ;;
                *) usage_error "packages: unknown switch: '$1'; the switches are: --release --key --no-install" ;;
                esac
        done
        packages "$release" "$key"
        say "packages, and what apt needs to install from there:"
        printf '%s\n' "$PACKAGES"
}

# packages [RELEASE [KEY]]: builds them for that release, by default this machine's; sets
# $PACKAGES to the folder, which is a flat repository for apt. KEY: a key
# of gpg to sign it with.
packages() {
        local release=${1:-} key=${2:-} made
        if [ -z "$release" ]; then
                release=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_ID") ||
                        die 'this machine does not run Debian: give --release 12 or --release 13'
        fi
        if [ -n "$key" ]; then
                need_packages 'sign the repository' gpg gpg-agent
                gpg --batch --list-secret-keys "$key" > /dev/null 2>&1 || die "--key: gpg has no secret key '$key'"
        fi
        PACKAGES=$ROOT/build-run/packages/$release
        made=$CACHE/packages/$release
        with_lock "packages-$release" build_packages || die 'cannot build the packages (see above)'
        if [ -n "$key" ]; then sign_packages || die "cannot sign the repository with the key '$key'"; fi
}

# The signature covers the list of files, which has the checksums of all packages.
sign_packages() {
        local gpg=(gpg --batch --yes --local-user "$key")
        "${gpg[@]}" --clearsign -o "$PACKAGES/InRelease" "$PACKAGES/Release" &&
                "${gpg[@]}" --armor --detach-sign -o "$PACKAGES/Release.gpg" "$PACKAGES/Release" &&
                "${gpg[@]}" --armor --export -o "$PACKAGES/mshare.asc" "$key"
}

# The root and the machine share only the cache. build-packages and ./run know from the
# environment where it is in the root.
build_packages() {
        rm -rf "$made"
        mkdir -p "${made%/*}" "${PACKAGES%/*}"
        "$BED/bare-root" --release "$release" bed/build-packages "$release" < /dev/null >&2 || return 1
        [ -s "$made/Packages" ] || {
                say "run: no packages in $made"
                return 1
        }
        rm -rf "$PACKAGES"
        cp -r "$made" "$PACKAGES"
}

# packages_key SOURCE...: a hash of what the packages are made of. No package contains tests, so a changed test
# needs no new packages.
packages_key() {
        local sources
        mapfile -t sources < <(tree_files . ':!kernel' ':!bed' ':!doc' ':!tests' ':!debian/tests')
        (cd "$ROOT" && content_hash "${sources[@]}" "$@")
}

# packages_here: builds them with dpkg-buildpackage on this machine, without tests, if
# their sources have changed; sets $PACKAGES.
packages_here() {
        userspace_needs 'build the packages'
        need_packages 'build the packages' build-essential dpkg-dev debhelper fakeroot
        PACKAGES=$ROOT/build-run/packages/here
        with_lock packages-here build_packages_here || die 'cannot build the packages (see above)'
}

build_packages_here() {
        # A build that is killed leaves its folder, which the next one removes.
        local work=$PACKAGES.work key log=$ROOT/build-run/packages/here.log sources rc=0
        mapfile -t sources < <(tree_files . ':!kernel' ':!bed' ':!doc')
        key=$(cat /etc/debian_version; packages_key)
        if [ "$(cat "$PACKAGES/key" 2> /dev/null)" = "$key" ]; then return; fi
        rm -rf "$PACKAGES" "$work"
        mkdir -p "$PACKAGES" "$work/mshare"
        tar -C "$ROOT" -c --no-recursion "${sources[@]}" | tar -x -C "$work/mshare"
        (cd "$work/mshare" && DEB_BUILD_OPTIONS="nocheck parallel=$JOBS" dpkg-buildpackage -us -uc -b &&
                cp ../*.deb "$PACKAGES/" && cd "$PACKAGES" && dpkg-scanpackages --multiversion . > Packages) > "$log" 2>&1 || rc=$?
        rm -rf "$work"
        [ $rc = 0 ] || {
                tail -n 40 "$log" | show
                return 1
        }
        # Without it, apt retries for a long time before it reads the list.
        (cd "$PACKAGES" && printf '%s\n' 'Label: mshare' "Date: $(date -Ru)" 'SHA256:' " $(sha256sum < Packages | cut -d ' ' -f 1) $(stat -c %s Packages) Packages" > Release)
        echo "$key" > "$PACKAGES/key"
}

# packages_of RELEASE: packages of that release to test; those of another release than the
# machine's are built in a minimal root. Sets $PACKAGES.
packages_of() {
        local release=$1 made=$CACHE/packages/$1
        if own_release "$release"; then
                packages_here
                return
        fi
        PACKAGES=$ROOT/build-run/packages/$release
        with_lock "packages-$release" build_changed_packages || die "cannot build the packages on Debian $release (see above)"
}

build_changed_packages() {
        local key
        key=$(packages_key bed/build-packages)
        if [ "$(cat "$PACKAGES/key" 2> /dev/null)" = "$key" ]; then return; fi
        build_packages || return 1
        echo "$key" > "$PACKAGES/key"
}

# debian_tests: the names of debian/tests, one a line.
debian_tests() { awk -F '[:, ]+' '$1 == "Tests" { for (i = 2; i <= NF; i++) print $i }' "$ROOT/debian/tests/control"; }

# test_packages NAME RELEASE BUS...: the test of that name in debian/tests, on a server of
# that release and on each of these buses.
test_packages() {
        local name=$1 release=$2 bus
        shift 2
        if [ "$(id -u)" != 0 ] && ! own_release "$release"; then
                point "packages: $name on Debian $release" 'all of it' skip 'only root can make a guest of another release'
                return
        fi
        guests_need
        packages_of "$release"
        kernel mshare
        rootfs "$release"
        for bus in "$@"; do run_autopkgtest "$name" "$release" "$bus"; done
}

# test_scripts: signed packages, and the maintainer scripts, without a server.
test_scripts() {
        need_packages 'sign the repository' gpg gpg-agent
        packages_here
        bed_script tests/packages/signed.sh "$PACKAGES"
        bed_script tests/packages/chroot.sh "$PACKAGES"
}

# test_builds RELEASE...: two builds give the same packages, and lintian reports nothing.
test_builds() {
        local release
        for release in "$@"; do check packages "Debian $release: two builds give the same, and lintian has no complaints" builds_for "$release"; done
}

builds_for() { (packages "$1"); }

# run_autopkgtest NAME RELEASE BUS [DISK]: runs a test as the program autopkgtest does: apt
# knows the packages, and the test may request another boot, which keeps what was written.
# With DISK, on a server that boots from that disk and keeps it; else in the systemd guest.
# The server begins with dbus-daemon, and the test changes that (MSHARE_BUS).
# Sets $AUTOPKGTEST_STATUS.
run_autopkgtest() {
        local name=$1 release=$2 bus=$3 disk=${4:-} work rc mark='' machine where
        work=$(mktemp -d)
        chmod 755 "$work"
        mkdir -p "$work/tree"
        (cd "$ROOT" && cp -r --parents tests/packages tests/tap.bash tests/guest/tap.bash doc/install.md debian/tests "$work/tree")
        cp -r "$PACKAGES" "$work/packages"
        cp "$BED/guest/autopkgtest" "$work/"
        machine=(--kernel "$KERNEL")
        if [ -n "$disk" ]; then
                where=server-dbus-$bus
                machine+=(--disk "$disk" --keep)
        elif grep -q autopkgtest-reboot "$ROOT/tests/packages/$name"; then
                where=dbus-$bus
                cp --sparse=always "$ROOTFS" "$work/root.ext4"
                machine+=(--root "$work/root.ext4" --keep --append="mshare.bus=$bus")
        else
                where=dbus-$bus
                machine+=(--root "$ROOTFS" --append="mshare.bus=$bus")
        fi
        : > "$work/log"
        while true; do
                rc=0
                "$BED/guest.py" --cache "$CACHE" "${machine[@]}" --mount "$work" -m 3072 --timeout 2400 -- \
                        env AUTOPKGTEST_REBOOT_MARK="$mark" MSHARE_BUS="$bus" MSHARE_PATCHED="$(is_patched mshare && echo yes || echo no)" \
                        sh /mnt/host/autopkgtest "$name" > "$work/boot" || rc=$?
                cat "$work/boot" >> "$work/log"
                mark=$(sed -n 's/^# next boot: //p' "$work/boot" | tail -n 1)
                if [ $rc != 0 ] || [ -z "$mark" ]; then break; fi
        done
        counted "$BED/report.py" tap "$RESULTS" "packages: $name on Debian $release, $where" "$rc" < "$work/log" ||
                { grep -vE '^ok ' "$work/log" | show; }
        mkdir -p "$ROOT/build-run/packages"
        cp "$work/log" "$ROOT/build-run/packages/$name-$release-$where.log"
        rm -rf "$work"
        AUTOPKGTEST_STATUS=$rc
}

# test_by_hand BUS...: what Meson installs, on a system without packages of ours, on each of these buses.
test_by_hand() {
        local bus
        guests_need
        overlay
        kernel mshare
        rootfs
        PACKAGES=$(mktemp -d)
        cp "$OVERLAY" "$PACKAGES/"
        for bus in "$@"; do run_autopkgtest by-hand "$(. /etc/os-release && echo "$VERSION_ID")" "$bus"; done
        rm -rf "$PACKAGES"
}

# test_server RELEASE: a server of that release, from Debian's kernel to the packaged mshare
# kernel and to PostgreSQL in a region. It boots as servers do: GRUB, an initramfs, modules.
test_server() {
        local release=$1 work
        if [ "$(id -u)" != 0 ]; then
                point "packages: server of Debian $release" 'all of it' skip 'only root can make its disk'
                return
        fi
        guests_need
        server_packages debian-cloud
        packages_of "$release"
        kernel mshare
        server_disk "$release"
        work=$(mktemp -d)
        cp --sparse=always "$GRUB_DISK" "$work/disk"
        cp -r "$PACKAGES" "$work/packages"
        cp "$SERVER_PACKAGES"/*.deb "$work/packages/"
        PACKAGES=$work/packages
        run_autopkgtest server-kernel "$release" daemon "$work/disk"
        if [ "$AUTOPKGTEST_STATUS" = 0 ]; then
                rm -f "$PACKAGES"/linux-*.deb
                cp --sparse=always "$work/disk" "$work/copy"
                run_autopkgtest install "$release" daemon "$work/copy"
                rm -f "$work/copy"
                run_autopkgtest reboot "$release" broker "$work/disk"
        fi
        rm -rf "$work"
}
