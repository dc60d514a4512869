#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Do the files that were installed into this guest work? Each program starts, the loader finds each library, each unit
# is loaded. The list comes from the archive that was unpacked here. Names each file that fails; exit status 1 if there
# is one.
set -u

missing=0
miss() {
        printf 'not as it should be: %s\n' "$*"
        missing=1
}

# Files, because one file may have several names: /lib is a link, and a library has its versions.
known=$(ldconfig -p | sed -n 's/.* => //p' | xargs readlink -f)
while read -r path; do
        path=${path#.}
        case $path in */) continue ;; esac
        [ -f "$path" ] || {
                miss "$path: it does not exist"
                continue
        }
        case $path in
        */lib*/systemd/system/*)
                unit=${path##*/}
                unit=${unit/@./@check.}
                state=$(systemctl show -P LoadState "$unit")
                [ "$state" = loaded ] || miss "$path: systemd says '$state'"
                continue
                ;;
        */libexec/*/tests/* | /usr/bin/* | /usr/sbin/* | /usr/libexec/*) ;;
        *.so | *.so.*) grep -xF -- "$(readlink -f "$path")" <<< "$known" > /dev/null || miss "$path: the loader does not find it" ;;
        *) continue ;;
        esac
        # Scripts have no libraries.
        [ "$(head -c 4 "$path" | tail -c 3)" = ELF ] || continue
        lost=$(ldd "$path" 2>&1 | grep 'not found')
        [ -z "$lost" ] || miss "$path:" "${lost//[$'\n\t']/ }"
        case $path in
        /usr/bin/* | /usr/sbin/* | /usr/libexec/mshared | /usr/libexec/mshare-region)
                said=$("$path" --version 2>&1 < /dev/null) || miss "$path --version: exit status $?: $said"
                ;;
        */libmshare-preload.so)
                said=$(env LD_PRELOAD="${path##*/}" true 2>&1)
                [ -z "$said" ] || miss "LD_PRELOAD=${path##*/}: $said"
                ;;
        esac
done < <(tar -tf /run/job/overlay.tar)
exit $missing
