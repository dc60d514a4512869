# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of the packages have in common; sourced. They are Debian's
# autopkgtests (debian/tests/control): root runs them from the top of the tree, on a
# server that may be changed. apt knows the packages, and none is installed.
# shellcheck disable=SC2012,SC2034,SC2154,SC2317

# shellcheck source=tests/guest/tap.bash
. tests/guest/tap.bash
page=doc/install.md
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
packages=(libmshare0 mshared mshare-postgresql)

version=$(basename "$(ls -d /usr/lib/postgresql/* | sort -V | tail -n 1)")
etc=/etc/postgresql/$version/main
unit=postgresql@$version-main.service
region=pg-$version-main

failed=0
on_failure() {
        failed=1
        journalctl -b -o cat -n 15 -u mshared -u "$unit" -u "mshare-region@$region" | sed 's/^/# journal: /'
        tail -n 5 "/var/log/postgresql/postgresql-$version-main.log" 2> /dev/null | sed 's/^/# log: /'
}
finish() {
        echo "1..$count"
        exit $failed
}

# shown: prints the output of the last command, for a report that is read later.
shown() { sed 's/^/# | /' "$out/log"; }

# block HEADING N: the Nth block of commands under that heading of the page. Its
# cluster is 15 main, which Debian 12 has.
block() {
        awk -v heading="## $1" -v wanted="$2" '
                /^## / { here = $0 == heading; next }
                here && /^    / { if (!inside++) n++; if (n == wanted) print substr($0, 5); next }
                { inside = 0 }' "$page" |
                sed "s/15 main/$version main/g; s/15-main/$version-main/g"
}

# without_numbers: sizes, addresses and dates as one letter, and blanks as one. A window's
# length depends on the kernel and not on the machine, so it stays.
without_numbers() { sed -E 's/Window: 1G/Window: one granule/; s/0x[0-9a-f]+/N/g; s/[A-Z][a-z]{2} [0-9]{4}(-[0-9]{2}){2} .*/N/; s/[0-9][0-9.]*[KMGT]?/N/g; s/[[:space:]]+/ /g; s/^ //'; }

# in_page: the page shows the output of the last command.
in_page() { without_numbers < "$out/printed" | { ! grep -vxF -f <(grep '^    ' "$page" | without_numbers); }; }

# follow HEADING N: run that block, line by line, exactly as on the page.
follow() {
        local line lines
        mapfile -t lines < <(block "$1" "$2")
        check "the page has commands under '$1', block $2" [ ${#lines[@]} -gt 0 ]
        for line in "${lines[@]}"; do
                check "page: $line" bash -c "$line" < /dev/null
                echo "# \$ $line"
                shown
                case $line in mshare*)
                        cp "$out/log" "$out/printed"
                        check "the page shows what it prints" in_page
                        ;;
                esac
        done
}

# follow_whole HEADING N: run that block as one, because its lines belong together.
follow_whole() {
        check "the page's commands under '$1', block $2" bash -ec "$(block "$1" "$2")" < /dev/null
        block "$1" "$2" | sed 's/^/# $ /'
        shown
}

# apt's questions are answered here, so that the page's commands can be run as they are.
answer_apt() {
        printf '%s\n' 'APT::Get::Assume-Yes "true";' 'APT::Install-Recommends "false";' 'Dpkg::Use-Pty "false";' \
                > /etc/apt/apt.conf.d/90answers
}
apt_get() { apt-get -q "$@" < /dev/null; }

# A reason to skip everything, except where the kernel is known to have mshare.
needs_kernel() {
        if [ -e /proc/sys/vm/mshare_size ] || [ "${MSHARE_PATCHED:-}" = yes ]; then return; fi
        echo '1..0 # SKIP the kernel has no mshare'
        exit 77
}

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
query() { as_postgres psql -XAtqc "$1"; }
answers() { [ "$(query 'SELECT 1')" = 1 ]; }
postmaster() { head -n 1 "/var/lib/postgresql/$version/main/postmaster.pid"; }
shares() { grep "/sys/fs/mshare/$region\$" "/proc/$(postmaster)/maps"; }
is_plain() { ! shares && answers; }
property() { msharectl show -p "$1" --value "$region"; }
version_of() { dpkg-query -W -f '${db:Status-Status} ${Version}' "$1"; }

# a_server: a small server, as an administrator sets it up.
a_server() {
        if [ ! -d "$etc" ]; then pg_createcluster "$version" main > /dev/null; fi
        sed -i 's/^#\? *shared_buffers = .*/shared_buffers = 128MB/; s/^#\? *max_connections = .*/max_connections = 50/' "$etc/postgresql.conf"
        echo 'fsync = off' >> "$etc/postgresql.conf"
        cp "$etc/environment" "$out/environment"
        check 'the server runs, as it was' systemctl start "$unit"
        check 'it answers' answers
}

# install_mshare: as on the page; in the end the server is in its region.
install_mshare() {
        # The folder where the packages were built and copied to. Elsewhere apt already knows them.
        if [ -e /srv/mshare/Packages ]; then follow 'Build the packages' 2; fi
        follow 'Four commands' 1
        check 'the server is in the region' shares
}
