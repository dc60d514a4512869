# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What every script of the test bed shares: messages, the cache, packages.

# shellcheck disable=SC2034 # used by those who source this
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BED=$ROOT/bed
CACHE=${MSHARE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mshare}
NO_INSTALL=${NO_INSTALL:-}
JOBS=${JOBS:-$(nproc)}
export CCACHE_DIR=${CCACHE_DIR:-$CACHE/ccache} CCACHE_COMPRESS=1

# Messages go to standard error: standard output belongs to the guest's
# command, the patch series and the test results.
say() { printf '%s\n' "$*" >&2; }
step() { printf '==> %s\n' "$*" >&2; }
# The name in error messages: the program that sources this.
PROGRAM=run

die() {
        printf '%s: %s\n' "$PROGRAM" "$*" >&2
        exit 1
}

# show: prints standard input, the details of a failure. "run test" prints it again at
# its end.
show() { sed 's/^/      | /' | tee ${RESULTS:+-a "$RESULTS.said"} >&2; }

# usage_error MESSAGE: for a command line that names something that does not exist.
usage_error() {
        printf '%s: %s\n' "$PROGRAM" "$*" >&2
        printf 'Try: %s --help\n' "$PROGRAM" >&2
        exit 2
}

as_root() {
        if [ "$(id -u)" = 0 ]; then
                "$@"
        elif command -v sudo > /dev/null; then
                sudo "$@"
        else
                die "'$1' needs root: become root or install sudo"
        fi
}

# with_lock NAME COMMAND...: one at a time among all runs that share the cache. The
# descriptor is closed for the command, so that a process that it leaves behind cannot
# keep the lock.
with_lock() {
        local name=$1 fd rc=0
        shift
        mkdir -p "$CACHE/lock"
        exec {fd}> "$CACHE/lock/$name"
        if ! flock -n "$fd"; then
                say "waiting for another run, which is busy with: ${name%%.*}"
                flock "$fd"
        fi
        "$@" {fd}>&- || rc=$?
        exec {fd}>&-
        return $rc
}

# apt_lock: the lock for this system's packages. A minimal root has packages of its own
# even if it shares the cache, so it does not wait for installations elsewhere.
apt_lock() { echo "apt.$(stat -c %i /var/lib/dpkg)"; }

# content_hash FILE...: one short hash over the names and contents of files,
# the same in every clone.
content_hash() { sha256sum -- "$@" | sed "s|  $ROOT/|  |" | sha256sum | cut -c1-16; }

# keep_newest COUNT PATH...: remove all but the newest of cached results.
keep_newest() {
        local count=$1
        shift
        # The cache chooses the names: they have no spaces and no line feeds.
        # shellcheck disable=SC2012
        ls -dt -- "$@" 2> /dev/null | tail -n +$((count + 1)) | xargs -r rm -rf --
}

is_installed() {
        [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2> /dev/null)" = 'ii ' ]
}

# apt_lists: makes sure that apt has lists of packages. A fresh machine has none.
apt_lists() {
        # "show" would also find installed packages.
        if [ -n "$(apt-cache madison libc6 2> /dev/null)" ]; then return; fi
        mkdir -p "$CACHE"
        as_root apt-get update > "$CACHE/apt.log" 2>&1 < /dev/null
}

# need_packages WHY PACKAGE...: installs what is missing, and says what and why.
# "a|b" means the first of these that this release of Debian has.
need_packages() {
        local why=$1 wish alt pkg missing=() lists=
        shift
        for wish in "$@"; do
                pkg=
                for alt in ${wish//|/ }; do
                        if is_installed "$alt"; then continue 2; fi
                done
                # Only the lists show which of several alternatives exists.
                if [ -z "$NO_INSTALL$lists" ]; then with_lock "$(apt_lock)" apt_lists || true; fi
                lists=1
                for alt in ${wish//|/ }; do
                        if [ -z "$pkg" ] && apt-cache show "$alt" > /dev/null 2>&1; then pkg=$alt; fi
                done
                missing+=("${pkg:-${wish%%|*}}")
        done
        [ ${#missing[@]} -gt 0 ] || return 0

        if [ -n "$NO_INSTALL" ]; then
                say "run: missing packages, needed to $why: ${missing[*]}"
                die "--no-install was given. Install them with: apt-get install ${missing[*]}"
        fi
        step "installing packages to $why: ${missing[*]}"
        with_lock "$(apt_lock)" install_packages "${missing[@]}"
}

install_packages() {
        mkdir -p "$CACHE"
        if ! apt_install "$@" && ! { as_root apt-get update && apt_install "$@"; } >> "$CACHE/apt.log" 2>&1; then
                tail -n 20 "$CACHE/apt.log" >&2
                die "apt-get could not install: $* (whole log: $CACHE/apt.log)"
        fi
}

apt_install() {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
                -o DPkg::Lock::Timeout=300 "$@" > "$CACHE/apt.log" 2>&1 < /dev/null
}
