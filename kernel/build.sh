# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
# Building the kernels; sourced after bed/lib.sh.
#
#   $CACHE/src/linux-VERSION       pristine source of the Debian package
#   $CACHE/tree/KIND/linux         one build tree per kind, kept for the next build
#   $CACHE/kernel/KIND-KEY/        bzImage, config, release: what guests boot;
#                                  of the coverage kind also gcov's notes
#
# KEY hashes all that goes in, so a finished kernel is never built twice. A
# build tree starts as hard links to the pristine source; only files that the
# series touches are replaced, and only when their content changes, so that
# editing one file recompiles what depends on it and no more.

KDIR=$ROOT/kernel
MUTATIONS=$ROOT/tests/kernel/mutations
# shellcheck disable=SC2034 # for run
KERNEL_KINDS=(mshare stock debug lean mutants coverage kcsan)

# The same in every build, so that ccache finds results and images can be compared.
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026' KBUILD_BUILD_USER=mshare KBUILD_BUILD_HOST=mshare

kernel_needs() {
        need_packages 'build the kernel' \
                linux-source-6.12 gcc make flex bison bc libc6-dev libelf-dev libssl-dev kmod cpio rsync xz-utils lz4 ccache git
}

# bed_patches KIND: patches for that kind besides the series. They repair faults in
# stock code that the tests meet, and are no part of mshare.
bed_patches() { case $1 in debug | coverage) printf '%s\n' "$KDIR"/bed/*.patch ;; esac; }

is_patched() { [ "${1#labels-}" != stock ] && [ -s "$KDIR/series" ]; }

# kernel_source: unpack the pristine source if needed; sets $KSRC.
kernel_source() {
        local package pin sublevel
        kernel_needs
        package=$(dpkg-query -W -f '${Version}' linux-source-6.12)
        KSRC=$CACHE/src/linux-${package//[^A-Za-z0-9.+-]/_}
        [ -d "$KSRC" ] || with_lock source unpack_source

        pin=$(cat "$KDIR/version")
        sublevel=$(awk '$2 == "=" && /^(VERSION|PATCHLEVEL|SUBLEVEL)/ { v = v sep $3; sep = "." } END { print v }' "$KSRC/Makefile")
        [[ $sublevel == 6.12.* ]] || die "linux-source-6.12 holds $sublevel: only 6.12.y can be built"
        [ "$sublevel" = "$pin" ] ||
                say "note: the series is made for $pin, this machine has $sublevel; trying with that"
}

unpack_source() {
        local partial=$KSRC.partial
        [ -d "$KSRC" ] && return
        step "unpacking the kernel source (about 15 s)"
        rm -rf "$partial"
        mkdir -p "$partial"
        tar -xf /usr/src/linux-source-6.12.tar.xz -C "$partial" --strip-components=1
        mv "$partial" "$KSRC"
}

# kernel_fragments KIND: the config fragments of that kind, weakest first.
kernel_fragments() {
        case $1 in debian*)
                server_original "$1"
                return
                ;;
        esac
        printf '%s\n' "$KDIR/config/guest.config"
        case $1 in debug | coverage) printf '%s\n' "$KDIR/config/debug.config" ;; esac
        if is_patched "$1"; then
                printf '%s\n' "$KDIR/config/mshare.config"
                case $1 in debug | lean | mutants | coverage | kcsan) printf '%s\n' "$KDIR/config/mshare-debug.config" ;; esac
                case $1 in lean | off | mutants | coverage | kcsan) printf '%s\n' "$KDIR/config/$1.config" ;; esac
        fi
        case $1 in labels-*) printf '%s\n' "$KDIR/config/labels.config" ;; esac
}

kernel_key() {
        {
                printf '%s %s\n' "$1" "${KSRC##*/}"
                gcc --version | head -n 1
                # Increase this number when the way of building changes.
                echo 'recipe 1'
                kernel_fragments "$1" | xargs cat | sha256sum
                if is_patched "$1"; then
                        # Selftests and documents are not part of the image.
                        grep -vE '^[0-9]+-(docs|selftests)-' "$KDIR/series"
                        if [ "$1" = mutants ]; then sha256sum < "$MUTATIONS/mutations.list"; fi
                        bed_patches "$1" | xargs -r cat
                        (cd "$KDIR" && find patches files -type f -not -path 'files/tools/*' \
                                -not -path 'files/Documentation/*' -not -name '[0-9]*-docs-*.patch' \
                                -not -name '[0-9]*-selftests-*.patch' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
                fi
        } | sha256sum | cut -c1-16
}

# kernel KIND: build that kind if need be; sets $KERNEL to the directory that
# holds bzImage, config and release.
kernel() {
        kernel_source
        KERNEL=$CACHE/kernel/$1-$(kernel_key "$1")
        if [ ! -d "$KERNEL" ]; then with_lock "kernel-$1" build_kernel "$1"; fi
        touch "$KERNEL"
}

build_kernel() {
        local kind=$1 tree=$CACHE/tree/$1/linux
        [ -d "$KERNEL" ] && return
        kernel_tree "$kind"
        kernel_make "$kind" bzImage
        rm -rf "$KERNEL.partial"
        mkdir -p "$KERNEL.partial"
        cp "$tree/arch/x86/boot/bzImage" "$tree/System.map" "$KERNEL.partial/"
        cp "$tree/.config" "$KERNEL.partial/config"
        cp "$tree/include/config/kernel.release" "$KERNEL.partial/release"
        if [ "$kind" = coverage ]; then cp "$tree"/mm/mshare*.gcno "$KERNEL.partial/"; fi
        mv "$KERNEL.partial" "$KERNEL"
        keep_newest 4 "$CACHE/kernel/$kind"-*
}

# kernel_tree KIND: the build tree with the series applied and configured.
kernel_tree() {
        local kind=$1 tree=$CACHE/tree/$1/linux stage=$CACHE/tree/$1/stage patches
        if [ "$(cat "$CACHE/tree/$kind/source" 2> /dev/null)" != "$KSRC" ]; then
                step "laying out a build tree for the $kind kernel"
                rm -rf "$CACHE/tree/$kind"
                mkdir -p "$CACHE/tree/$kind"
                cp -al "$KSRC" "$tree"
                : > "$CACHE/tree/$kind/paths"
                echo "$KSRC" > "$CACHE/tree/$kind/source"
        fi
        if is_patched "$kind"; then
                mapfile -t patches < <(bed_patches "$kind")
                "$KDIR/series.sh" stage "$KSRC" "$stage" "${patches[@]}" || die "the patch series cannot be applied (see above)"
                if [ "$kind" = mutants ]; then "$MUTATIONS/apply.py" apply "$stage" || die 'the mutations cannot be applied (see above)'; fi
        else
                rm -rf "$stage"
                mkdir -p "$stage/.git"
                : > "$stage/.git/mshare-paths"
        fi
        update_tree "$CACHE/tree/$kind"
        case $kind in
        debian*) configure_server "$kind" ;;
        *) configure_tree "$kind" ;;
        esac
}

# update_tree DIR: make DIR/linux the pristine source plus DIR/stage, touching
# only files whose content differs. DIR/paths lists what may differ from the
# pristine source; it is a superset at any moment, so an interruption is
# repaired by the next call.
update_tree() {
        local dir=$1 path wanted
        local tree=$dir/linux stage=$dir/stage paths=$dir/paths

        cat "$stage/.git/mshare-paths" >> "$paths"
        LC_ALL=C sort -u "$paths" -o "$paths"
        while read -r path; do
                wanted=
                if grep -qxF -- "$path" "$stage/.git/mshare-paths"; then
                        if [ -e "$stage/$path" ]; then wanted=$stage/$path; fi
                elif [ -e "$KSRC/$path" ]; then
                        wanted=$KSRC/$path
                fi
                if [ -z "$wanted" ]; then
                        rm -f -- "$tree/$path"
                elif ! cmp -s -- "$wanted" "$tree/$path"; then
                        # A new file and a rename: the old one may be a hard link to the pristine source.
                        mkdir -p "$tree/$(dirname "$path")"
                        cp -- "$wanted" "$tree/$path.mshare-new"
                        mv -f -- "$tree/$path.mshare-new" "$tree/$path"
                fi
        done < "$paths"
        cp "$stage/.git/mshare-paths" "$paths.new"
        mv "$paths.new" "$paths"
}

# configure_tree KIND: kconfig silently drops options that it cannot satisfy, so each
# requested option is compared with the result.
configure_tree() {
        local kind=$1 dir=$CACHE/tree/$1 missed
        kernel_fragments "$kind" | xargs cat > "$dir/wanted.config"
        make -s -C "$dir/linux" CC='ccache gcc' HOSTCC='ccache gcc' \
                KCONFIG_ALLCONFIG="$dir/wanted.config" allnoconfig > "$dir/config.log" 2>&1 < /dev/null || {
                cat "$dir/config.log" >&2
                die "the $kind kernel cannot be configured"
        }
        missed=$(awk -F= '
                FNR == NR { if (/^CONFIG_/) want[$1] = $2; next }
                /^CONFIG_/ { got[$1] = $2 }
                END { for (k in want) { g = (k in got) ? got[k] : "n"; if (g != want[k]) print "  " k ": wanted " want[k] ", got " g } }
        ' "$dir/wanted.config" "$dir/linux/.config" | sort)
        [ -z "$missed" ] || die "kconfig did not grant what kernel/config asks for ($kind):
$missed"
}

# kernel_make KIND TARGET...: with a line of progress; the log stays in the tree.
kernel_make() {
        local kind=$1 dir=$CACHE/tree/$1 begin expect usually rc=0 counting=()
        shift
        # All files of ours that are compiled, and nothing else.
        if [ "$kind" = coverage ]; then
                mapfile -t counting < <(cd "$KDIR/files/mm" && printf '%s\n' mshare*.c | sed 's/\(.*\)\.c$/GCOV_PROFILE_\1.o=y/')
        fi
        begin=$(date +%s)
        # What was measured, in objects and in minutes on 2 CPUs from nothing. The whole of
        # "debian" was never built.
        case $kind in
        debug | coverage) expect=1560 usually='6 to 9 minutes' ;;
        debian-cloud) expect=5400 usually='55 to 80 minutes' ;;
        debian) expect=0 usually='some hours' ;;
        *) expect=1510 usually='4 to 9 minutes' ;;
        esac
        usually+=' on 2 CPUs from nothing'
        if [ ! -s "$dir/objects" ]; then
                step "building the $kind kernel ($usually)"
        else
                expect=$(cat "$dir/objects")
                step "building the $kind kernel (only what has changed; $usually)"
        fi

        make -C "$dir/linux" -j"$JOBS" CC='ccache gcc' HOSTCC='ccache gcc' LOCALVERSION="-$kind" "${counting[@]}" "$@" 2>&1 < /dev/null |
                progress "$expect" "$dir/build.log" || rc=1
        if [ $rc != 0 ]; then
                grep -E -A8 'error|Error|warning:' "$dir/build.log" | head -n 60 >&2 || true
                die "the $kind kernel does not build; whole log: $dir/build.log"
        fi
        grep -cE '^  (CC|AS|HOSTCC)' "$dir/build.log" > "$dir/objects.new" || true
        # A full build takes as long as the next full build.
        if [ "$(cat "$dir/objects.new")" -gt "$(cat "$dir/objects" 2> /dev/null || echo 0)" ]; then
                mv "$dir/objects.new" "$dir/objects"
        fi
        say "    built in $(($(date +%s) - begin)) s"
}

# progress EXPECTED LOG: count compiled objects; often on a terminal, every
# 30 seconds elsewhere. EXPECTED is 0 if it is not known.
progress() {
        local expect='' log=$2 count=0 line now last=$SECONDS every=30
        if [ "$1" != 0 ]; then expect=" of about $1"; fi
        if [ -t 2 ]; then every=1; fi
        : > "$log"
        while IFS= read -r line; do
                printf '%s\n' "$line" >> "$log"
                case $line in '  CC '* | '  AS '* | '  HOSTCC '*) count=$((count + 1)) ;; esac
                now=$SECONDS
                if [ $((now - last)) -ge $every ]; then
                        last=$now
                        if [ -t 2 ]; then
                                printf '\r    %d%s objects ' "$count" "$expect" >&2
                        else
                                say "    $count$expect objects"
                        fi
                fi
        done
        if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}

# kernel_deb KIND: a Debian package of the kernel, into the current directory.
kernel_deb() {
        kernel_source
        need_packages 'make a Debian package of the kernel' dpkg-dev debhelper
        with_lock "kernel-$1" build_deb "$1"
}

build_deb() {
        local kind=$1 dir=$CACHE/tree/$1 deb
        kernel_tree "$kind"
        rm -f "$dir"/linux-*.deb
        # dpkg-buildpackage would sign and check the builder's name otherwise.
        KDEB_CHANGELOG_DIST=unstable KDEB_PKGVERSION="$(make -s -C "$dir/linux" kernelversion)-1" \
                KDEB_COMPRESS=xz DEB_BUILD_PROFILES=pkg.linux-upstream.nokernelheaders \
                kernel_make "$kind" bindeb-pkg
        for deb in "$dir"/linux-image-*.deb; do
                case $deb in *-dbg_*) continue ;; esac
                cp "$deb" .
                printf '%s\n' "$PWD/${deb##*/}"
        done
}
