#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# chroot.sh PACKAGES: the maintainer scripts of the packages in that folder, without a server. They are installed,
# upgraded and purged in a temporary copy of this system. Services do not run in it; debian/tests covers them. Speaks
# TAP.
# shellcheck disable=SC2317
set -u

# shellcheck source=tests/tap.bash
. "$(dirname "$0")/../tap.bash"
here=$(realpath "$0")

# The copy is an overlay that only this process and its children see.
if [ "${1:?chroot.sh: which folder has the packages?}" != --inside ]; then
        [ "$(id -u)" = 0 ] || skip_all 'only root can'
        for dir in /etc /usr /var /var/lib; do
                if mountpoint -q "$dir"; then skip_all "$dir is a file system of its own, which an overlay of / does not have"; fi
        done
        work=$(mktemp -d)
        trap 'rm -rf "$work"' EXIT
        mkdir "$work/packages" "$work/top" "$work/root"
        cp "$1"/*.deb "$work/packages/"
        cp "$here" "${here%/*/*}/tap.bash" "$work/packages/"
        # shellcheck disable=SC2016 # the inner shell expands it
        unshare --mount --propagation private sh -c '
                mount -t tmpfs none "$1/top" && mkdir "$1/top/changed" "$1/top/work" &&
                        mount -t overlay -o "lowerdir=/,upperdir=$1/top/changed,workdir=$1/top/work" none "$1/root"' sh "$work" 2> "$work/why" ||
                skip_all "no overlay can be mounted here: $(tail -n 1 "$work/why")"
        # shellcheck disable=SC2016
        unshare --mount --propagation private sh -c '
                set -e
                mount -t tmpfs none "$1/top"
                mkdir "$1/top/changed" "$1/top/work"
                mount -t overlay -o "lowerdir=/,upperdir=$1/top/changed,workdir=$1/top/work" none "$1/root"
                for dir in /proc /dev; do mount --rbind $dir "$1/root$dir"; done
                for dir in /run /tmp; do mount -t tmpfs none "$1/root$dir"; done
                mkdir -p "$1/root/tmp/tests/packages"
                cp "$1/packages/tap.bash" "$1/root/tmp/tests/"
                mv "$1/packages/chroot.sh" "$1/root/tmp/tests/packages/"
                cp "$1"/packages/*.deb "$1/root/tmp/"
                exec chroot "$1/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
                        DEBIAN_FRONTEND=noninteractive /bin/bash /tmp/tests/packages/chroot.sh --inside' sh "$work"
        exit
fi

cd /tmp || exit 1
tap_log=/tmp/log
packages=(libmshare0 mshared mshare-postgresql)
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

ours() { find /etc /usr /var /run -xdev -iname '*mshare*' ! -path '/var/lib/dpkg/*' | LC_ALL=C sort; }
debs() { for package in "${packages[@]}"; do echo "$1${package}"_*.deb; done; }
version_of() { dpkg-query -W -f '${db:Status-Status} ${Version}' "$1"; }
all_are() { for package in "${packages[@]}"; do [ "$(version_of "$package")" = "installed $1" ] || { version_of "$package"; return 1; }; done; }
enabled() { [ -L "/etc/systemd/system/multi-user.target.wants/$1" ]; }
install() { dpkg -i "$@"; }

# newer: the packages again, with a higher version.
newer() {
        local deb
        mkdir newer
        for deb in $(debs ''); do
                rm -rf tree
                dpkg-deb -R "$deb" tree || return
                # Their dependencies on each other contain the version as well.
                sed -i "s/^Version: .*/&+1/; s/(= ${version//./\\.})/(= $version+1)/g" tree/DEBIAN/control
                dpkg-deb --root-owner-group -Zgzip -z1 -b tree "newer/$deb" || return
        done
}

if [ -n "$(version_of mshared 2> /dev/null)" ]; then skip_all 'the packages are installed on this machine'; fi
version=$(dpkg-deb -f mshared_*.deb Version)
ours > before
# shellcheck disable=SC2046
check 'install' install $(debs '')
check 'all are installed' all_are "$version"
check 'the user is there' getent passwd mshared
check 'the broker is enabled' enabled mshared.service
check 'and the mount' enabled sys-fs-mshare.mount
check 'figures are only written on demand' bash -c '! find /etc/systemd/system -name "mshare-metrics*" | grep .'
check 'msharectl runs' msharectl --version
check 'mshare-postgresql runs' mshare-postgresql --version
check 'the loader finds the preload library by its name' bash -c 'ldconfig -p | grep -qF libmshare-preload.so'
check 'the program of region units runs' /usr/libexec/mshare-region --version
check 'the broker has all of its libraries' bash -c '! ldd /usr/libexec/mshared | grep "not found"'

# Changes of the administrator are kept.
echo '# ours' > /etc/mshare/regions.d/kept.conf
check 'the broker is disabled' systemctl disable mshared.service
check 'a newer version' newer
# shellcheck disable=SC2046
check 'upgrade' install $(debs newer/)
check 'all are newer' all_are "$version+1"
check 'the broker stays disabled' bash -c '[ ! -e /etc/systemd/system/multi-user.target.wants/mshared.service ]'
check 'the mount stays enabled' enabled sys-fs-mshare.mount
check "the administrator's file stays" grep -qx '# ours' /etc/mshare/regions.d/kept.conf
# shellcheck disable=SC2046
check 'downgrade' install $(debs '')
check 'all are as they were' all_are "$version"

# What the administrator has enabled, and what the timer has written, goes as well.
check 'the figures are enabled' systemctl enable mshare-metrics.timer
check 'and a region' systemctl enable mshare-region@pgdata.service
mkdir -p /var/lib/prometheus/node-exporter
echo 'mshare_regions 1' > /var/lib/prometheus/node-exporter/mshare.prom
# There is no msharefs in here, so this is a region of which the kernel says nothing.
refused() { # refused WORDS
        ! dpkg --remove mshare-postgresql mshared > removed 2>&1 && cat removed && grep -q "$1" removed &&
                [ "$(version_of mshared)" = "installed $version" ]
}
mkdir -p /run/systemd/system /sys/fs/mshare
: > /sys/fs/mshare/pgdata
check 'remove, if the sharers of a region are not known' refused 'Cannot read whether a process has region pgdata attached'
rm -r /run/systemd/system /sys/fs/mshare
check 'remove' dpkg --remove mshare-postgresql mshared
check 'no old figures are left to be read' bash -c '[ ! -e /var/lib/prometheus/node-exporter/mshare.prom ]'
check "the administrator's file stays until purge" grep -qx '# ours' /etc/mshare/regions.d/kept.conf
check 'purge' dpkg --purge mshare-postgresql mshared libmshare0
check 'nothing of them is left' diff before <(ours)
check 'nor in dpkg' bash -c '! dpkg-query -W mshared'
echo "1..$count"
exit $failed
