#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# signed.sh PACKAGES: apt accepts a repository that "./run packages --key" has signed, and no other. PACKAGES is the folder of
# a repository. apt uses folders of its own here, so nothing on the system is changed. Speaks TAP.
# shellcheck disable=SC2317
set -u

top=$(realpath "$(dirname "$0")/../..")
# shellcheck source=tests/tap.bash
. "$top/tests/tap.bash"
# shellcheck source=bed/packages.sh
. "$top/bed/packages.sh"
for program in gpg gpg-agent; do command -v $program > /dev/null || skip_all "$program is not installed"; done
work=$(mktemp -d)
end() {
        gpgconf --kill all
        rm -rf "$work"
}
trap end EXIT
tap_log=$work/log
export GNUPGHOME=$work/gpg LC_ALL=C.UTF-8
mkdir -m 700 "$GNUPGHOME"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
PACKAGES=$work/packages key='Packages of the test <packages@example.org>'
cp -r "${1:?signed.sh: expected the folder of the packages}" "$PACKAGES"
# What apt runs to verify a signature may run as another user.
chmod 755 "$work"

apt() { # apt PROGRAM ARGUMENTS...
        local program=$1
        shift
        "$program" -o "Dir::Etc::sourcelist=$work/list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists" \
                -o "Dir::Cache=$work/cache" -o APT::Sandbox::User= "$@"
}
# apt only warns about a list that it does not accept.
updated() { apt apt-get --error-on=any update; }
refused() { # refused WORDS
        if updated > "$work/said" 2>&1; then return 1; fi
        cat "$work/said"
        grep -qE "$1" "$work/said"
}
offers() { apt apt-cache policy mshared | grep -F "file:$PACKAGES"; }
new_key() { gpg --batch --pinentry-mode loopback --passphrase '' --quick-gen-key "$1" default default never; }

check 'a key' new_key "$key"
check 'the repository is signed' sign_packages
# As doc/install.md has it.
echo "deb [signed-by=$PACKAGES/mshare.asc] file:$PACKAGES ./" > "$work/list"
check 'apt accepts it' updated
check 'and offers the packages' offers
check 'another key' new_key 'Somebody else <else@example.org>'
gpg --batch --armor --export else@example.org > "$work/else.asc"
sed "s|signed-by=[^]]*|signed-by=$work/else.asc|" "$work/list" > "$work/list.else"
mv "$work/list.else" "$work/list"
rm -r "$work/lists"
mkdir -p "$work/lists/partial"
check 'with that one it is refused' refused 'NO_PUBKEY|issing key|is not signed'
echo "deb [signed-by=$PACKAGES/mshare.asc] file:$PACKAGES ./" > "$work/list"
echo >> "$PACKAGES/Packages"
rm -f "$PACKAGES"/Packages.*
check 'and so is a changed list' refused 'Hash Sum mismatch|unexpected size|has invalid'
echo "1..$count"
exit $failed
