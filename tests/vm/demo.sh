# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ./run demo; sourced by run after its libraries.

demo() {
        local begin rc=0
        begin=$(date +%s)
        guest_arguments mshare systemd
        "$VM/guest.py" "${GUEST_ARGS[@]}" --memory "$(guest_memory mshare systemd)" --timeout 300 \
                --die-with-parent --put "$VM/guest/demo" -- bash /run/job/demo < /dev/null || rc=$?
        say "==> $(($(date +%s) - begin)) s in all"
        return $rc
}
