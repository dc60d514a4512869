#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The page in a browser, for ./run test --long. It runs in a minimal root of
# Debian, as Chromium is large and Cockpit opens a port where it is installed.
# Speaks TAP; skips where no such root can be made.
set -euo pipefail

# shellcheck source=bed/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../bed/lib.sh"
# shellcheck source=bed/userspace.sh
. "$ROOT/bed/userspace.sh"

if [ "${1:-}" != --inside ]; then
        rc=0
        "$ROOT/bed/bare-root" tests/cockpit/page-in-root.sh --inside || rc=$?
        if [ $rc = 77 ]; then
                echo '1..0 # SKIP no minimal root can be made here'
                exit 0
        fi
        exit $rc
fi

userspace_needs 'build the broker'
need_packages 'show the page in a browser' chromium chromium-driver cockpit-bridge cockpit-ws python3-selenium \
        dbus-daemon python3-dbus python3-dbusmock python3-gi procps util-linux
meson_build cockpit gcc >&2
log=$ROOT/build-run/cockpit-page.tap
rc=0
"$ROOT/tests/cockpit/page-test.py" "$ROOT"/build-run/cockpit/{tests/daemon/mshared-test,ctl/msharectl} > "$log" || rc=$?
# Everything that it needs is installed, so it may not skip here.
sed 's/^1\.\.0 # SKIP /Bail out! The page was not tested: /' "$log"
exit $rc
