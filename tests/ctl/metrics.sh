#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The numbers for Prometheus, with the fake broker, and the alert rules: metrics.sh MSHARECTL ALERTS ALERTS-TEST
# If promtool is installed (package prometheus), it checks both.
# shellcheck disable=SC1003,SC2016,SC2317
set -u

# shellcheck source=tests/ctl/check.bash
. "$(dirname "$0")/check.bash"
alerts=$2
alerts_test=$3

promtool() { # promtool NAME ARGUMENTS...: a test point
        local name=$1
        shift
        if type -P promtool >/dev/null; then
                check "$name" env promtool "$@"
        else
                count=$((count + 1))
                echo "ok $count - $name # SKIP promtool is not installed (package prometheus)"
        fi
}
has() { grep -qxF -- "$1" "$out/metrics" || { cat "$out/metrics"; false; }; }

"$ctl" create -q pgdata 300G
"$ctl" create -q 'a "b\' 1M
check 'metrics' sh -c '"$0" metrics >"$1"' "$ctl" "$out/metrics"
check 'of the broker' has 'mshare_up 1'
check 'of all regions' has 'mshare_regions 2'
check 'of one region' has 'mshare_region_size_bytes{region="pgdata"} 322122547200'
check 'what it saves' has 'mshare_region_page_table_saved_bytes{region="pgdata"} 24576'
check 'calls' has 'mshare_broker_calls_total{method="AcquireRegion"} 12'
check 'those with an error' has 'mshare_broker_errors_total{method="AcquireRegion"} 3'
check 'unknown methods are one' has 'mshare_broker_calls_total{method="other"} 1'
check 'questions to polkit' has 'mshare_polkit_questions_total 11'
for answer in yes:13 no:12 failed:12 timeout:14 cancelled:15; do
        check "polkit's answer ${answer%:*}" has "mshare_polkit_answers_total{answer=\"${answer%:*}\"} ${answer#*:}"
done
check 'calls that wait for it' has 'mshare_polkit_waiting_calls 2'
check 'how long they have waited' has 'mshare_polkit_wait_seconds_total 1.500000'
check 'names are escaped' has 'mshare_region_sharers{region="a \"b\\"} 3'
check 'they end as OpenMetrics requires' [ "$(tail -n 1 "$out/metrics")" = '# EOF' ]
check 'each metric once, with help and type' python3 - "$out/metrics" <<'PY'
import re, sys
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
types = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
helps = [line.split()[2] for line in lines if line.startswith("# HELP ")]
# The type of a counter is written in another way in each of the two formats.
assert types == [name for name in helps if not name.endswith("_total")], (types, helps)
assert len(helps) == len(set(helps)), helps
current, series = None, set()
for line in lines:
    if line.startswith("# HELP "):
        current = line.split()[2]
    elif line.startswith("# TYPE "):
        assert line == "# TYPE " + current + " gauge", line
    elif not line.startswith("#"):
        name, labels, value = re.fullmatch(r'(\w+)(\{.*\})? (\S+)', line).groups()
        assert name == current, line
        assert (name, labels) not in series, line
        series.add((name, labels))
        float(value)
PY
promtool 'promtool finds no fault' check metrics <"$out/metrics"
check 'into a file' run 0 '' '' metrics --output="$out/file.prom"
check 'the same' sh -c 'grep -v created "$0" >"$0.1"; grep -v created "$1" | diff "$0.1" -' "$out/metrics" "$out/file.prom"
check 'that others may read' [ "$(stat -c %a "$out/file.prom")" = 644 ]
check 'with nothing left beside it' sh -c '! ls -A "$0" | grep prom.' "$out"
check 'a folder that does not exist' run 1 '' 'msharectl: Cannot write /nonexistent/x: No such file.* ' metrics --output=/nonexistent/x
kill "$FAKE_BROKER_PID"
sleep 0.2
check 'a broker that is gone is a figure' run 0 '# HELP mshare_up .* # TYPE mshare_up gauge mshare_up 0 # EOF ' '.*broker is not running.*' metrics
promtool 'the alert rules are sound' check rules "$alerts"
promtool 'and fire when they should' test rules "$alerts_test"

echo "1..$count"
exit $failed
