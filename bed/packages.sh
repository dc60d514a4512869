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

# newer FROM TO: the same packages with a higher version, as of a rebuild.
newer() {
        local deb version
        mkdir "$2"
        for deb in "$1"/*.deb; do
                case $deb in *-dbgsym_* | *-dev_*) continue ;; esac
                version=$(dpkg-deb -f "$deb" Version)
                rm -rf "$2/tree"
                dpkg-deb -R "$deb" "$2/tree"
                # The version stands in what they say of each other as well.
                sed -i "s/^Version: .*/&+rebuilt1/; s/(= ${version//./\\.})/(= $version+rebuilt1)/g" "$2/tree/DEBIAN/control"
                dpkg-deb --root-owner-group -Zgzip -b "$2/tree" "$2" > "$2.log" || return 1
        done
        rm -rf "$2/tree"
        (cd "$2" && dpkg-scanpackages . > Packages 2> "$2.log")
}

# test_packages: build them, and use them on a bare server, once for each bus.
test_packages() {
        local work bus rc
        guests_need
        need_packages 'make a repository of packages' dpkg-dev
        packages
        point packages 'are built, the same twice, and please lintian' pass
        kernel mshare
        rootfs
        work=$(mktemp -d)
        chmod 755 "$work"
        mkdir "$work/first"
        cp "$PACKAGES"/*.deb "$work/first"
        rm -f "$work"/first/*-dbgsym_*
        (cd "$work/first" && dpkg-scanpackages . > Packages 2> /dev/null)
        newer "$work/first" "$work/second" || die 'no second version of the packages can be made'
        cp "$ROOT/tests/packages/server.sh" "$ROOT/tests/guest/tap.bash" "$work/"
        for bus in dbus-daemon dbus-broker; do
                rc=0
                "$BED/guest.py" --cache "$CACHE" --kernel "$KERNEL" --root "$ROOTFS" --mount "$work" --memory 3072 --timeout 1500 \
                        "--append=mshare.bus=${bus#dbus-}" -- env MSHARE_PATCHED="$(is_patched mshare && echo yes || echo no)" \
                        bash /mnt/host/server.sh /mnt/host > "$work/$bus.log" || rc=$?
                counted "$BED/report.py" tap "$RESULTS" "packages on $bus" "$rc" < "$work/$bus.log" ||
                        { grep -vE '^ok ' "$work/$bus.log" | show; }
        done
        rm -rf "$work"
}
