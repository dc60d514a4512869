#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Is the guest the system that the other tests rely on?
# limit: 300
# long-kernel: debug
# long-limit: 600
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

is_running() { systemctl is-system-running && [ "$(systemctl is-system-running)" = running ]; }
no_failed_unit() {
        systemctl list-units --failed --no-legend --plain
        [ -z "$(systemctl list-units --failed --no-legend --plain)" ]
}
polkit_answers() {
        busctl call org.freedesktop.PolicyKit1 /org/freedesktop/PolicyKit1/Authority \
                org.freedesktop.PolicyKit1.Authority CheckAuthorization '(sa{sv})sa{ss}us' \
                unix-process 3 pid u $$ start-time t 0 uid i 0 \
                org.freedesktop.policykit.exec 0 0 '' | grep -q '^(bba{ss}) true'
}
kernel_is() { uname -r; [ "$(uname -r)" = "$MSHARE_RELEASE" ]; }
config_is() { [ "$(zcat /proc/config.gz | sha256sum | cut -d' ' -f1)" = "$MSHARE_CONFIG_SHA256" ]; }
# Debian's own units and the project's.
units_are_sound() { systemd-analyze verify --man=no /usr/lib/systemd/system/*mshare*; }
server_is_there_but_off() {
        ls /usr/lib/postgresql/*/bin/postgres && ! pgrep -x postgres
}
mshare_is_mounted() { grep -E '^[^ ]+ /sys/fs/mshare msharefs ' /proc/mounts; }

check 'the system is running' is_running
check 'no unit has failed' no_failed_unit
check 'polkit is on the bus' sh -c 'busctl list | grep -q "^org.freedesktop.PolicyKit1 .*polkitd"'
check 'polkit answers' polkit_answers
check 'the kernel is the one that was built' kernel_is
check 'with the configuration it was built with' config_is
check 'PostgreSQL is installed and not started' server_is_there_but_off
check 'uid 1000 exists' id user1000
if compgen -G '/usr/lib/systemd/system/*mshare*' > /dev/null; then
        check "the project's units are sound" units_are_sound
else
        skip "the project's units are sound" 'it has none yet'
fi
check 'programs start, libraries are found, units load' bash ./installed.bash
if [ "$MSHARE_PATCHED" = yes ]; then
        check 'msharefs is mounted' mshare_is_mounted
else
        check 'a stock kernel has no msharefs' sh -c '! [ -e /sys/fs/mshare ]'
fi
echo "1..$count"
