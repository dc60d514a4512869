# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# ./run demo; sourced by run after its libraries.

# demo [SHELL]: runs the demo; with SHELL, on the guest's terminal, which stays open afterwards.
demo() {
        local begin rc=0 file args=()
        begin=$(date +%s)
        guest_arguments mshare systemd
        for file in "$ROOT"/tests/demo/* "$ROOT/tests/guest/installed.bash"; do args+=(--put "$file"); done
        args+=(-m 3072)
        if [ -n "${1:-}" ]; then
                [ -t 0 ] || die 'demo --shell needs a terminal'
                demo_overlay
                "$BED/guest.py" "${GUEST_ARGS[@]}" "${args[@]}" --overlay "$DEMO_OVERLAY" || rc=$?
                rm -f "$DEMO_OVERLAY"
                return $rc
        fi
        "$BED/guest.py" "${GUEST_ARGS[@]}" "${args[@]}" --timeout 1800 --die-with-parent \
                -- bash /run/job/compare.sh < /dev/null || rc=$?
        say "==> $(($(date +%s) - begin)) s in all"
        return $rc
}

# demo_overlay: the project, and a login shell that starts with the demonstration; sets
# $DEMO_OVERLAY.
demo_overlay() {
        local tree
        DEMO_OVERLAY=$(mktemp --suffix=.tar)
        tree=$(mktemp -d)
        mkdir -p "$tree/etc/profile.d"
        echo 'export PAGER=cat; bash /run/job/compare.sh; echo; echo "PostgreSQL is in its region. Try: msharectl"' > "$tree/etc/profile.d/mshare-demo.sh"
        cp "$OVERLAY" "$DEMO_OVERLAY"
        tar -C "$tree" --owner=0 --group=0 -rf "$DEMO_OVERLAY" ./etc/profile.d/mshare-demo.sh
        rm -rf "$tree"
}
