# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Building the userspace part with Meson; sourced after lib.sh.

userspace_needs() {
        # systemd-dev: the unit folders. Releases without this package have them in
        # systemd.
        need_packages "$1" gcc libc6-dev meson ninja-build pkg-config python3 \
                libsystemd-dev libglib2.0-dev 'systemd-dev|systemd' libdbus-1-dev libpolkit-gobject-1-dev ccache
}

# library_dir: where Debian's loader looks for libraries. Meson asks dpkg-architecture and
# uses lib64 if that is not installed, so the folder is given.
library_dir() {
        local triplet
        # The multiarch name is in each Debian gcc, whatever compiler builds.
        triplet=$(gcc -print-multiarch) || return 1
        [ -n "$triplet" ] || {
                say 'run: "gcc -print-multiarch" prints nothing: this gcc is not from Debian, so the folder of libraries is not known'
                return 1
        }
        echo "lib/$triplet"
}

# meson_build NAME COMPILER OPTIONS...: build in build-run/NAME; errors are shown. What
# was compiled before comes from the cache that also has the kernels' objects.
meson_build() {
        local cc=$2 dir=$ROOT/build-run/$1 log=$ROOT/build-run/$1.log wanted libdir
        shift 2
        mkdir -p "$ROOT/build-run"
        libdir=$(library_dir) || return 1
        set -- "-Dlibdir=$libdir" "$@"
        if command -v ccache > /dev/null; then cc="ccache $cc"; fi
        wanted="$cc $*"
        # Options are fixed when a directory is set up. Other options need another
        # directory.
        if [ "$(cat "$dir/mshare-options" 2> /dev/null)" != "$wanted" ]; then rm -rf "$dir"; fi
        if [ ! -f "$dir/build.ninja" ]; then
                CC=$cc meson setup "$@" "$dir" "$ROOT" > "$log" 2>&1 || show_build_errors "$log"
                printf '%s\n' "$wanted" > "$dir/mshare-options"
        fi
        meson compile -C "$dir" > "$log" 2>&1 || show_build_errors "$log"
}

show_build_errors() {
        grep -E -A6 'error|ERROR|FAILED' "$1" | head -n 60 | show || true
        say "    whole log: $1"
        return 1
}

# overlay [RELEASE]: what "meson install" puts on a system, as a tar file for the
# systemd guest; sets $OVERLAY. Programs of one release need not run on another, and
# the folders differ: for another release than the machine's it is built there.
overlay() {
        if ! own_release "${1:-}"; then
                release_overlay "$1"
                return
        fi
        userspace_needs 'install the project into the guest'
        OVERLAY=$ROOT/build-run/overlay.tar
        with_lock userspace build_overlay || die 'cannot build the userspace part (see above)'
}

build_overlay() {
        local dest=$ROOT/build-run/dest key
        # Each guest asks. To be told by Meson that nothing has changed takes a second. Headers and libraries
        # of this machine are packages.
        key=$({ overlay_sources; gcc --version; ls -l --time-style=full-iso /var/lib/dpkg/status; } | sha256sum)
        if [ -e "$OVERLAY" ] && [ "$(cat "$OVERLAY.key" 2> /dev/null)" = "$key" ]; then return; fi
        rm -f "$OVERLAY.key"
        meson_build install gcc --buildtype=debugoptimized -Dtests=disabled -Dguest-tests=true || return 1
        rm -rf "$dest"
        DESTDIR=$dest meson install -C "$ROOT/build-run/install" --no-rebuild --quiet > "$ROOT/build-run/install.log" 2>&1 ||
                show_build_errors "$ROOT/build-run/install.log" || return 1
        mkdir -p "$dest"
        tar -C "$dest" --owner=0 --group=0 --sort=name -cf "$OVERLAY.partial" .
        mv "$OVERLAY.partial" "$OVERLAY"
        echo "$key" > "$OVERLAY.key"
}

# overlay_sources: names and hashes of all files that it is built from, and of some more. A file
# that was deleted without git is not an error.
overlay_sources() {
        (cd "$ROOT" && {
                git ls-files -co --exclude-standard -z -- . ':!kernel' ':!debian' ':!doc' ':!*.md' ':!.ci' ':!run' \
                        ':!bed' ':!tests/bed' ':!tests/demo' ':!tests/guest/*.sh'
                git ls-files -co --exclude-standard -z -- kernel/files/include bed/userspace.sh bed/build-overlay
        } | LC_ALL=C sort -z | xargs -0 sha256sum 2> /dev/null) || true
}

# release_overlay RELEASE: the same, built in a minimal root of that release. Returns 77
# if no root can be made: $OVERLAY.log says why.
release_overlay() {
        local key rc=0
        key=$(overlay_sources | sha256sum | cut -c1-16)
        OVERLAY=$CACHE/overlay/$1-$key.tar
        if [ ! -e "$OVERLAY" ]; then
                with_lock "overlay-$1" build_release_overlay "$1" || rc=$?
                # Only a caller that does not need it continues.
                if [ $rc = 77 ]; then return 77; fi
                [ $rc = 0 ] || die "cannot build the userspace part on Debian $1 (see above)"
        fi
        touch "$OVERLAY"
}

# The root and this machine share only the cache.
build_release_overlay() {
        [ -e "$OVERLAY" ] && return
        mkdir -p "$CACHE/overlay"
        step "building the userspace part on Debian $1 (about 2 minutes)"
        "$BED/bare-root" --release "$1" bed/build-overlay "${OVERLAY##*/}.partial" < /dev/null 2>&1 | tee "$OVERLAY.log" >&2 || return "${PIPESTATUS[0]}"
        mv "$OVERLAY.partial" "$OVERLAY"
        rm -f "$OVERLAY.log"
        keep_newest 6 "$CACHE"/overlay/*.tar
}
