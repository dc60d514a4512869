# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian packages of the userspace half; sourced by run after its libraries.
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

# packages [RELEASE [KEY]]: build them for that release, else this machine's; sets
# $PACKAGES to the folder, which is a flat repository for apt. KEY: one of gpg's
# to sign it with.
packages() {
        local release=${1:-} key=${2:-} made
        if [ -z "$release" ]; then
                release=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_ID") ||
                        die 'this machine is not Debian: say --release 12 or --release 13'
        fi
        if [ -n "$key" ]; then
                need_packages 'sign the repository' gpg
                gpg --batch --list-secret-keys "$key" > /dev/null 2>&1 || die "--key: gpg has no secret key '$key'"
        fi
        PACKAGES=$ROOT/build-run/packages/$release
        made=$CACHE/packages/$release
        with_lock "packages-$release" build_packages || die 'the packages cannot be built (see above)'
        if [ -n "$key" ]; then sign_packages || die "the repository cannot be signed with the key '$key'"; fi
}

# Signed is the list of files, and in it are the sums of all packages.
sign_packages() {
        local gpg=(gpg --batch --yes --local-user "$key")
        "${gpg[@]}" --clearsign -o "$PACKAGES/InRelease" "$PACKAGES/Release" &&
                "${gpg[@]}" --armor --detach-sign -o "$PACKAGES/Release.gpg" "$PACKAGES/Release" &&
                "${gpg[@]}" --armor --export -o "$PACKAGES/mshare.asc" "$key"
}

# The root and the machine have the cache in common, and nothing else. Where the
# cache is in the root, build-packages and ./run know from the environment.
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

# test_packages: build them, and run each of debian/tests with them, on each bus.
test_packages() {
        local name bus names
        guests_need
        names=$(awk -F '[:, ]+' '$1 == "Tests" { $1 = ""; print }' "$ROOT/debian/tests/control")
        [ -n "$names" ] || die 'debian/tests/control names no tests'
        packages
        point packages 'are built, the same twice, and please lintian' pass
        kernel mshare
        rootfs
        for name in $names; do
                for bus in daemon broker; do run_autopkgtest "$name" "$bus"; done
        done
}

# run_autopkgtest NAME BUS: as the program autopkgtest does it: apt knows the packages;
# the test may ask for another boot, which keeps the disk.
run_autopkgtest() {
        local name=$1 bus=$2 work rc mark='' disk=$ROOTFS keep=()
        work=$(mktemp -d)
        chmod 755 "$work"
        mkdir -p "$work/tree"
        (cd "$ROOT" && cp -r --parents tests/packages tests/tap.bash tests/guest/tap.bash doc/install.md debian/tests "$work/tree")
        cp -r "$PACKAGES" "$work/packages"
        cp "$BED/guest/autopkgtest" "$work/"
        if grep -q autopkgtest-reboot "$ROOT/tests/packages/$name"; then
                disk=$work/root.ext4
                cp --sparse=always "$ROOTFS" "$disk"
                keep=(--keep)
        fi
        : > "$work/log"
        while true; do
                rm -f "$work/mark"
                rc=0
                "$BED/guest.py" --cache "$CACHE" --kernel "$KERNEL" --root "$disk" --mount "$work" \
                        --memory 3072 --timeout 2400 --append="mshare.bus=$bus" "${keep[@]}" -- \
                        env AUTOPKGTEST_REBOOT_MARK="$mark" MSHARE_PATCHED="$(is_patched mshare && echo yes || echo no)" \
                        sh /mnt/host/autopkgtest "$name" >> "$work/log" || rc=$?
                if [ $rc != 0 ] || [ ! -s "$work/mark" ]; then break; fi
                mark=$(cat "$work/mark")
        done
        counted "$BED/report.py" tap "$RESULTS" "packages: $name, dbus-$bus" "$rc" < "$work/log" ||
                { grep -vE '^ok ' "$work/log" | show; }
        mkdir -p "$ROOT/build-run/packages"
        cp "$work/log" "$ROOT/build-run/packages/$name-dbus-$bus.log"
        rm -rf "$work"
}
