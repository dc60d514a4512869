# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The root file systems of guests; sourced after initramfs.sh.

# guest_memory KIND INIT: how much memory the guest needs, in MiB.
guest_memory() {
        case $1-$2 in
        debug-* | *-systemd) echo 2048 ;;
        *) echo 1024 ;;
        esac
}

# Releases of Debian: the systemd guest and minimal roots can be made of each.
# shellcheck disable=SC2034 # used by those who source this
RELEASES=(12 13 testing)

# guest_arguments KIND INIT [BARE [RELEASE]]: builds what is booted; sets $GUEST_ARGS
# for guest.py. BARE leaves the project out of the systemd guest.
guest_arguments() {
        need_packages 'run the guest' qemu-system-x86 python3
        GUEST_ARGS=(--cache "$CACHE")
        case $2 in
        selftest)
                initramfs
                GUEST_ARGS+=(--initrd "$INITRD")
                ;;
        systemd)
                # Begin with the step that fails at once if it is impossible here.
                if [ -z "${3:-}" ]; then
                        overlay "${4:-}" || die "cannot build the project for Debian ${4:-} here (see above)"
                        GUEST_ARGS+=(--overlay "$OVERLAY")
                fi
                rootfs "${4:-}"
                GUEST_ARGS+=(--root "$ROOTFS")
                ;;
        esac
        kernel "$1"
        GUEST_ARGS+=(--kernel "$KERNEL")
}

# debian_sources: this machine's own Debian sources, one per line, so that the guest has
# the machine's release and mirror.
debian_sources() {
        # shellcheck disable=SC2016 # apt's variables, not the shell's
        apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
                awk -F'|' '$1 == "Debian" && !seen[$0]++ { print "deb " $2 " " $3 " " $4 }'
}

# own_sources: sets $OWN_SOURCES to these, and updates apt's lists if there were none
# yet. Only once, because apt needs more than a second of CPU time for each answer.
OWN_SOURCES=
own_sources() {
        [ -z "$OWN_SOURCES" ] || return 0
        OWN_SOURCES=$(debian_sources)
        [ -z "$OWN_SOURCES" ] || return 0
        with_lock "$(apt_lock)" apt_lists || true
        OWN_SOURCES=$(debian_sources)
}

# release_sources RELEASE: sets $SOURCES to the sources of 12, 13 or testing; without a
# RELEASE, to the machine's own. Empty if apt has none.
release_sources() {
        local suite
        own_sources
        SOURCES=
        [ -n "$OWN_SOURCES" ] || return 0
        case $1 in
        12) suite=bookworm ;;
        13) suite=trixie ;;
        *) suite=$1 ;;
        esac
        SOURCES=$(awk -v suite="$suite" '
                NR == 1 { own = $3 }
                suite == "" { print; next }
                $3 == own { $3 = suite; print; next }
                # testing has no separate updates
                index($3, own "-") == 1 && suite != "testing" { $3 = suite substr($3, length(own) + 1); print }' <<< "$OWN_SOURCES")
}

# machine_apt: the part of this machine's apt configuration that is needed to reach
# Debian, such as proxies; without translations.
machine_apt() {
        echo 'Acquire::Languages "none";'
        apt-config dump --format '%F "%v";%n' Acquire | grep -E '^Acquire::(https?|ftp|Check-|Retries|Force)' || true
}

# unchecked_dates: $SOURCES, with an option to ignore the dates of archives if this machine
# ignores them: a mirror's copy of testing may be past its Valid-Until date. The third
# word of the first line is the release, as make-rootfs expects.
unchecked_dates() {
        local options
        awk 'NR == 1 { print "# Debian", $3 }' <<< "$SOURCES"
        options=$(apt-config dump --format '%f=%v%n' Acquire | sed -n 's/^Acquire::Check-Valid-Until=false$/check-valid-until=no/p
                s/^Acquire::Check-Date=false$/check-date=no/p' | paste -sd ' ')
        echo "${SOURCES//deb http/deb ${options:+[$options] }http}"
}

guest_packages() { sed -e 's/#.*//' "$BED/packages" | xargs -n 1; }

# own_release RELEASE: whether that is this machine's own release, or empty.
own_release() {
        [ -n "$1" ] || return 0
        release_sources "$1"
        [ "$SOURCES" = "$OWN_SOURCES" ]
}

# rootfs [RELEASE]: builds the systemd guest's image if needed; sets $ROOTFS. RELEASE is
# one of $RELEASES; the default is the machine's own.
rootfs() {
        need_packages 'make the systemd guest' mmdebstrap e2fsprogs python3
        rootfs_of "${1:-}"
        if [ ! -e "$ROOTFS" ]; then with_lock rootfs build_rootfs "${1:-}"; fi
        touch "$ROOTFS"
}

# rootfs_of RELEASE [PACKAGE...]: sets $ROOTFS to the name of an image that also has these
# packages, and leaves its sources for apt next to it.
rootfs_of() {
        local inputs=("$BED/make-rootfs" "$BED/packages" "$BED"/guest/{agent,at-the-end,preinit,setup,unpack}) release=$1
        shift
        release_sources "$release"
        [ -n "$SOURCES" ] || die 'apt has no Debian archive: see /etc/apt/sources.list.d'
        own_release "$release" || SOURCES=$(unchecked_dates)
        ROOTFS=$CACHE/rootfs/$({ printf '%s\n' "$SOURCES" "$@"; content_hash "${inputs[@]}"; } | sha256sum | cut -c1-16).ext4
        mkdir -p "$CACHE/rootfs"
        printf '%s\n' "$SOURCES" > "$ROOTFS.sources"
}

# Packages of a server: Debian's own kernel, which it runs before ours, and GRUB.
SERVER_DISK=(linux-image-cloud-amd64 initramfs-tools e2fsprogs zstd grub-pc-bin grub2-common)

# server_disk [RELEASE]: builds a disk that boots a server of that release by GRUB, with
# Debian's own kernel, if needed; sets $GRUB_DISK.
server_disk() {
        local ROOTFS
        need_packages 'make a disk that boots' mmdebstrap e2fsprogs fdisk python3
        rootfs_of "${1:-}" "${SERVER_DISK[@]}"
        if [ ! -e "$ROOTFS" ]; then with_lock rootfs build_server_disk "${1:-}"; fi
        touch "$ROOTFS"
        # shellcheck disable=SC2034 # for packages.sh
        GRUB_DISK=$ROOTFS
}

# GRUB can install itself only on a real disk, so that is done in a guest.
build_server_disk() {
        local disk=$ROOTFS
        [ -e "$disk" ] && return
        kernel mshare
        ROOTFS=$disk.raw
        cp "$disk.sources" "$ROOTFS.sources"
        build_rootfs "${1:-}" --server
        step 'installing GRUB on it (about 1 minute)'
        cp --sparse=always "$ROOTFS" "$disk.partial"
        rm -f "$ROOTFS" "$ROOTFS.sources"
        "$BED/guest.py" --quiet --cache "$CACHE" --kernel "$KERNEL" --root "$disk.partial" --partition --keep --timeout 900 \
                -m 2048 -- sh -ec '
                        grub-install --target=i386-pc /dev/vda
                        update-grub
                        /usr/lib/mshare-guest/at-the-end poweroff' > "$CACHE/rootfs/log" 2>&1 || {
                tail -n 30 "$CACHE/rootfs/log" >&2
                die "cannot install GRUB; whole log: $CACHE/rootfs/log"
        }
        mv "$disk.partial" "$disk"
        ROOTFS=$disk
}

# build_rootfs RELEASE [--server]
build_rootfs() {
        local begin packages=() wish alt own=
        [ -e "$ROOTFS" ] && return
        begin=$(date +%s)
        step "making the systemd guest from packages of Debian ${1:-$(cat /etc/debian_version)} (about 1 minute, downloads about 150 MB)"
        if own_release "${1:-}"; then own=1; fi
        for wish in $(guest_packages); do
                # This machine's apt knows only packages of its own release. For others, take
                # the first, which is the oldest: the newer ones provide it.
                [ -n "$own" ] || wish=${wish%%|*}
                # If none exists, mmdebstrap prints an error.
                [[ $wish == *'|'* ]] || {
                        packages+=("$wish")
                        continue
                }
                for alt in ${wish//|/ }; do
                        if apt-cache show "$alt" > /dev/null 2>&1; then
                                packages+=("$alt")
                                break
                        fi
                done
        done
        if [ -n "${2:-}" ]; then packages+=("${SERVER_DISK[@]}"); fi
        rm -f "$ROOTFS.partial"
        if ! as_root "$BED/make-rootfs" ${2:+"$2"} "$ROOTFS.partial" "$ROOTFS.sources" "${packages[@]}" \
                > "$CACHE/rootfs/log" 2>&1 < /dev/null; then
                tail -n 30 "$CACHE/rootfs/log" >&2
                die "cannot build the guest; whole log: $CACHE/rootfs/log"
        fi
        mv "$ROOTFS.partial" "$ROOTFS"
        keep_newest 8 "$CACHE"/rootfs/*.ext4
        say "    made in $(($(date +%s) - begin)) s"
}
