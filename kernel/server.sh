# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
# Kernels for servers: Debian's own configurations, and CONFIG_MSHARE; sourced
# after build.sh. Their build trees are of kinds of their own, debian and
# debian-cloud.

# shellcheck disable=SC2034 # for run
SERVER_CONFIGS=(debian debian-cloud)

# server_flavour KIND: Debian's name of it.
server_flavour() {
        case $1 in
        debian) echo amd64 ;;
        debian-cloud) echo cloud-amd64 ;;
        esac
}

# server_release KIND: what "uname -r" says, as packages and files in /boot are
# named. "-" sorts after the "+" in Debian's own 6.12.117+deb12-amd64, for apt, GRUB
# and linux-version alike.
server_release() { echo "$(make -s -C "$CACHE/tree/$1/linux" kernelversion)-mshare-$(server_flavour "$1")"; }

# server_version: of the packages: between Debian's of the same source and its next.
server_version() { echo "$(dpkg-query -W -f '${Version}' linux-source-6.12)+mshare1"; }

server_needs() {
        kernel_needs
        # dwarves: BTF, which Debian's kernels have, is dropped without a word where pahole is missing.
        need_packages "configure a kernel as Debian does" linux-config-6.12 xz-utils dwarves
}

# server_original KIND: the file with Debian's configuration.
server_original() { echo "/usr/src/linux-config-6.12/config.amd64_none_$(server_flavour "$1").xz"; }

# server_kernel KIND [DEB]: configure it, say what it is, and with DEB build its
# packages and copy them into the current directory.
server_kernel() {
        local deb
        kernel_source
        server_needs
        with_lock "kernel-$1" configured_server_kernel "$1"
        [ -n "${2:-}" ] || return 0
        server_packages "$1"
        for deb in "$SERVER_PACKAGES"/*.deb; do
                cp "$deb" .
                printf '%s\n' "$PWD/${deb##*/}"
        done
}

# server_packages KIND: build its packages if need be; sets $SERVER_PACKAGES to their folder.
server_packages() {
        kernel_source
        server_needs
        need_packages 'make Debian packages of the kernel' dpkg-dev debhelper
        SERVER_PACKAGES=$CACHE/kernel/$1-$(kernel_key "$1")
        if [ ! -d "$SERVER_PACKAGES" ]; then with_lock "kernel-$1" build_server_packages "$1"; fi
        touch "$SERVER_PACKAGES"
}

configured_server_kernel() {
        local kind=$1
        kernel_tree "$kind"
        say "Configured as Debian's $(server_flavour "$kind"), in $CACHE/tree/$kind/linux. What is different from it:"
        say "$(sed 's/^/    /' "$CACHE/tree/$kind/different")"
        server_control "$kind"
        say "Packages of version $(server_version):"
        say "$(sed -n 's/^Package: /    /p' "$CACHE/tree/$kind/linux/debian/control" | grep -v -e -dbg -e linux-libc-dev)"
}

# configure_server KIND: kernel_tree's, for these.
configure_server() {
        local kind=$1 dir=$CACHE/tree/$1 flavour original
        flavour=$(server_flavour "$kind")
        original=$(server_original "$kind")
        [ -e "$original" ] || die "linux-config-6.12 has no $original"
        xz -dc "$original" > "$dir/debian.config"
        cp "$dir/debian.config" "$dir/linux/.config"
        "$dir/linux/scripts/config" --file "$dir/linux/.config" -e MSHARE
        make -s -C "$dir/linux" CC='ccache gcc' HOSTCC='ccache gcc' olddefconfig > "$dir/config.log" 2>&1 < /dev/null || {
                cat "$dir/config.log" >&2
                die "the $kind kernel cannot be configured"
        }
        "$dir/linux/scripts/diffconfig" "$dir/debian.config" "$dir/linux/.config" > "$dir/different"
        grep -qx 'CONFIG_MSHARE=y' "$dir/linux/.config" || die "kconfig did not grant CONFIG_MSHARE=y to Debian's $flavour"
        # Lines with "-" are options that kconfig dropped.
        if grep -vE '^[ +]' "$dir/different" > "$dir/dropped"; then
                die "kconfig has dropped from Debian's $flavour:
$(cat "$dir/dropped")"
        fi
}

# server_control KIND: let the kernel's own packaging write debian/.
server_control() {
        (cd "$CACHE/tree/$1/linux" && KDEB_CHANGELOG_DIST=unstable KDEB_PKGVERSION=$(server_version) ARCH=x86 SRCARCH=x86 UTS_MACHINE=x86_64 srctree=. \
                KCONFIG_CONFIG=.config KERNELRELEASE=$(server_release "$1") MAKE=make CC=gcc \
                sh scripts/package/mkdebian) > "$CACHE/tree/$1/control.log" 2>&1 || {
                cat "$CACHE/tree/$1/control.log" >&2
                die "the kernel's scripts/package/mkdebian fails"
        }
}

build_server_packages() {
        local kind=$1 dir=$CACHE/tree/$1 deb
        [ -d "$SERVER_PACKAGES" ] && return
        kernel_tree "$kind"
        rm -f "$dir"/linux-*.deb
        # kernel_make appends the kind's name; the one that counts comes last.
        KDEB_CHANGELOG_DIST=unstable KDEB_PKGVERSION=$(server_version) KDEB_COMPRESS=xz DEB_BUILD_PROFILES=pkg.linux-upstream.nokerneldbg \
                kernel_make "$kind" LOCALVERSION="-mshare-$(server_flavour "$kind")" bindeb-pkg
        rm -rf "$SERVER_PACKAGES.partial"
        mkdir -p "$SERVER_PACKAGES.partial"
        for deb in "$dir"/linux-image-*.deb "$dir"/linux-headers-*.deb; do
                case $deb in *-dbg_*) continue ;; esac
                cp "$deb" "$SERVER_PACKAGES.partial/"
        done
        mv "$SERVER_PACKAGES.partial" "$SERVER_PACKAGES"
        keep_newest 2 "$CACHE/kernel/$kind"-????????????????
}
