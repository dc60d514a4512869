#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# mshare-postgresql on PostgreSQL and postgresql-common as a release of Debian has them,
# for ./run test --long: tool-in-root.sh RELEASE. It runs in a minimal root of that release.
# There are no units and no regions in there, so systemctl and msharectl are stand-ins.
# Speaks TAP; skips where no such root can be made.
# shellcheck disable=SC2317
set -u

# shellcheck source=bed/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../bed/lib.sh"
# shellcheck source=tests/tap.bash
. "$ROOT/tests/tap.bash"

if [ "${1:-}" != --inside ]; then
        rc=0
        "$ROOT/bed/bare-root" --release "${1:?tool-in-root.sh: which release of Debian?}" tests/postgresql/tool-in-root.sh --inside || rc=$?
        if [ $rc = 77 ]; then skip_all 'no minimal root can be made here'; fi
        exit $rc
fi

need_packages 'test mshare-postgresql' postgresql postgresql-common
work=$(mktemp -d)
chmod 755 "$work"
tap_log=$work/log
version=
# The server must not outlive the root.
end() {
        [ -z "$version" ] || pg_ctlcluster --skip-systemctl-redirect "$version" main -m immediate stop > /dev/null 2>&1
        rm -rf "$work"
}
trap end EXIT
version=$(basename "$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 | sort -V | tail -n 1)")
etc=/etc/postgresql/$version/main unit=postgresql@$version-main.service region=pg-$version-main
[ -d "$etc" ] || pg_createcluster "$version" main > /dev/null
# The network is the machine's.
printf '%s\n' "listen_addresses = ''" 'shared_buffers = 128MB' 'fsync = off' >> "$etc/postgresql.conf"
echo "KEPT = 'yes'" >> "$etc/environment"

# Everything belongs to the root except the kernel, which is the machine's.
export MSHARE_POSTGRESQL_ROOT=$work/root PATH=$work/bin:$PATH LC_ALL=C.UTF-8
mkdir -p "$work/bin" "$work/root/proc/sys/vm"
ln -s /etc /usr /srv /sys "$work/root/"
echo 1073741824 > "$work/root/proc/sys/vm/mshare_size"
sed "s|@bindir@|$work/bin|g; s|@version@|0|g" "$ROOT/postgresql/mshare-postgresql.in" > "$work/bin/mshare-postgresql"
cat > "$work/bin/systemctl" << EOF
#!/bin/sh
echo "systemctl \$*" >> "$work/calls"
case "\$*" in
"-q is-active $unit") exec pg_ctlcluster --skip-systemctl-redirect $version main status ;;
-q*) exit 1 ;;
'restart mshare-region@'*) cp "$work/needed" "$work/size" ;;
esac
EOF
cat > "$work/bin/msharectl" << EOF
#!/bin/sh
case "\$*" in
'show -p Size --value $region') cat "$work/size" ;;
'check -q '*) exit 1 ;;
esac
EOF
chmod 755 "$work"/bin/*

tool() { "$work/bin/mshare-postgresql" "$@" < /dev/null; }
says() { # says WORDS ARGUMENTS...: the command succeeds and prints this
        local words=$1
        shift
        tool "$@" > "$work/said" 2>&1 || { cat "$work/said"; return 1; }
        cat "$work/said"
        grep -qE -- "$words" "$work/said"
}
refuses() { # refuses WORDS ARGUMENTS...
        local words=$1
        shift
        ! tool "$@" > "$work/said" 2>&1 && cat "$work/said" && grep -qE -- "$words" "$work/said"
}
etc_is() { find /etc -printf '%p %y %m %u %g %l\n' -type f -exec sha256sum {} + | LC_ALL=C sort; }
unchanged() { diff "$work/before" <(etc_is); }
as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }
ask() { as_postgres "/usr/lib/postgresql/$version/bin/postgres" -D "$etc" -C "$@"; }
is() { [ "$("${@:2}")" = "$1" ]; } # is WANTED COMMAND...
needed() { echo $(($(ask shared_memory_size) << 20)) > "$work/needed"; }
cluster() { pg_ctlcluster --skip-systemctl-redirect "$version" main "$@"; }
postmaster() { head -n 1 "/var/lib/postgresql/$version/main/postmaster.pid"; }
in_environment() { tr '\0' '\n' < "/proc/$(postmaster)/environ" | tee /dev/stderr | grep -qxF "$1"; }

cp "$etc/postgresql.conf" "$work/conf"
settings_back() { cat "$work/conf" > "$etc/postgresql.conf"; }

echo "# PostgreSQL $(ask server_version), postgresql-common $(dpkg-query -W -f '${Version}' postgresql-common)"
etc_is > "$work/before"
check 'enable --dry-run' says "^Would change $etc/environment to:" enable "$version" main --dry-run
check 'it changes nothing' unchanged
check 'enable' says "$unit is not running: it goes into region $region" enable "$version" main
check 'the environment file is changed' grep -qxF "MSHARE_REGION = '$region'" "$etc/environment"
check 'its owner and mode are the same' diff <(grep "^$etc/environment " "$work/before") <(etc_is | grep "^$etc/environment ")
check 'the region belongs to the server' grep -qxF User=postgres "/etc/mshare/regions.d/$region.conf"
check 'status' says "^$unit +$region +- +stopped +-\$" status "$version" main

# Before a start, the server itself reports the size.
: > "$work/size"
needed
check 'prepare makes the region' tool prepare "--unit=$unit"
check 'as large as the server says' cmp "$work/needed" "$work/size"
: > "$work/calls"
check 'prepare again' tool prepare "--unit=$unit"
check 'leaves the region' bash -c "! grep restart $work/calls"
echo 'shared_buffers = 256MB' >> "$etc/postgresql.conf"
needed
check 'prepare after shared_buffers has grown' tool prepare "--unit=$unit"
check 'makes a larger region' cmp "$work/needed" "$work/size"
settings_back

# Settings outside postgresql.conf count as well. The stand-in for the region's unit always makes this size.
echo $((400 << 20)) > "$work/needed"
resized() { # resized WANTED: prepare makes the region again, or not
        : > "$work/calls"
        tool prepare "--unit=$unit" || return
        cat "$work/calls"
        [ "$(grep -c 'restart mshare-region' "$work/calls")" = "$1" ]
}
at_first() { echo $((160 << 20)) > "$work/size"; }
at_first
check 'a region that fits is kept' resized 0
echo 'shared_buffers = 320MB' > "$etc/conf.d/ours.conf"
# The last line of postgresql.conf counts, which is after the line that includes conf.d.
sed -i '/^shared_buffers = 128MB/d' "$etc/postgresql.conf"
check 'a setting in conf.d' resized 1
rm "$etc/conf.d/ours.conf"
check 'which is removed' resized 1
mkdir /srv/more.d
echo 'shared_buffers = 320MB' > /srv/more.d/ours.conf
echo "include_dir = '/srv/more.d'" >> "$etc/postgresql.conf"
at_first
check 'a folder that is included' resized 1
settings_back
rm -r /srv/more.d
at_first
mv "/var/lib/postgresql/$version/main" /srv/data
sed -i "s|^data_directory = .*|data_directory = '/srv/data'|" "$etc/postgresql.conf"
check 'data in another folder' resized 0
echo "shared_buffers = '320MB'" >> /srv/data/postgresql.auto.conf
check 'with a setting of ALTER SYSTEM' resized 1
sed -i '/^shared_buffers/d' /srv/data/postgresql.auto.conf
mv /srv/data "/var/lib/postgresql/$version/main"
settings_back

# pg_ctlcluster and pg_ctl pass options to the server.
cp "$etc/pg_ctl.conf" "$work/pg_ctl.conf"
echo "pg_ctl_options = '-t 60 -o -cshared_buffers=64MB -wo --work_mem=7MB'" > "$etc/pg_ctl.conf"
mib=$(ask shared_memory_size -c shared_buffers=64MB)
echo $((mib << 20)) > "$work/needed"
check 'prepare with options in pg_ctl.conf' tool prepare "--unit=$unit"
check 'counts them' grep -qx "Size=$((mib + mib / 10 + 1))M" "/etc/mshare/regions.d/$region.conf"

# postgresql-common passes the environment to the server. The library is not installed here, and the loader continues
# without it.
check 'the server starts' cluster start
check 'with these options' is '64MB 7MB' as_postgres psql -XAtqc "SELECT current_setting('shared_buffers') || ' ' || current_setting('work_mem')"
cat "$work/pg_ctl.conf" > "$etc/pg_ctl.conf"
check 'it has the region in its environment' in_environment "MSHARE_REGION=$region"
check 'and the library' in_environment LD_PRELOAD=libmshare-preload.so
check 'and what was there before' in_environment KEPT=yes
check 'status of the running server' says "^$unit +$region +[0-9]+M +running +no\$" status "$version" main
check 'prepare refuses a server that runs already' refuses 'does not report how much shared memory' prepare "--unit=$unit"
check 'the server stops' cluster stop
check 'disable' says "^Changed $etc/environment" disable "$version" main
rmdir /etc/mshare/regions.d /etc/mshare 2> /dev/null
check 'all of /etc is as it was' unchanged
check 'the server starts again' cluster start
check 'without a region' bash -c "! tr '\\0' '\\n' < /proc/$(postmaster)/environ | grep MSHARE_"
check 'and stops' cluster stop

echo 'huge_pages = on' >> "$etc/postgresql.conf"
check 'huge_pages = on is refused' refuses "huge_pages is 'on'" enable "$version" main
settings_back
echo 'no_such_setting = 1' >> "$etc/postgresql.conf"
check 'and so is a configuration that the server does not read' refuses 'does not accept its configuration' enable "$version" main
settings_back
check 'nothing is changed by either' unchanged

echo "1..$count"
exit $failed
