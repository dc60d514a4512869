#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures are the same wherever they are shown, and are the kernel's: figures-test.py MSHARED MSHARECTL. tests/cockpit compares the page."""

import json
import os
import re
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../daemon"))

import harness  # noqa: E402
from harness import wait_until  # noqa: E402

binary, msharectl = sys.argv[1:3]
MiB = 1 << 20


def valgrind():
    """The beginning of a command that runs one of our programs, if the tests are under valgrind. This test is not, and
    valgrind does not follow what a program starts that it does not watch."""
    if not os.environ.get("MSHARE_VALGRIND"):
        return []
    return ["valgrind", "-q", "--read-inline-info=no", "--error-exitcode=99", "--leak-check=full",
            "--errors-for-leak-kinds=definite,indirect", "--trace-children=yes",
            "--trace-children-skip=/usr/*,/bin/*,/sbin/*"]


def ctl(env, *args):
    r = subprocess.run([*valgrind(), msharectl, *args], env=env.environ(), capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    return r.stdout


def size_word(n):
    for suffix in "BKMGT":
        if n < 1024 or suffix == "T":
            return "%d%s" % (n, suffix) if n == int(n) else "%.1f%s" % (int(n * 10) / 10, suffix)
        n /= 1024
    return None


def in_json(env, name):
    one = next(r for r in json.loads(ctl(env, "list", "--json=short")) if r["name"] == name)
    return one["size"], one["resident"], one["sharers"], one["page_tables"], one["saved"]


def in_list(env, name):
    words = next(line.split() for line in ctl(env, "list", "--no-legend").splitlines() if line.split()[0] == name)
    return words[1], words[2], words[3], words[5], words[6]


def in_top(env, name):
    words = next(line.split() for line in ctl(env, "top", "-n1", "--no-legend").splitlines() if line.split()[0] == name)
    return words[1], words[2], words[4], words[6], words[7]


def in_status(env, name):
    text = ctl(env, "status", name)
    return (re.search(r"Size: (\S+),", text)[1], re.search(r"Resident: (\S+)", text)[1], re.search(r"Sharers: (\S+)", text)[1],
            *re.search(r"Page tables: (\S+) held once, (\S+) saved", text).groups())


def in_metrics(env, name):
    text = ctl(env, "metrics")
    return tuple(int(re.search(r'^mshare_region_%s\{region="%s"\} (\d+)$' % (what, name), text, re.M)[1])
                 for what in ("size_bytes", "resident_bytes", "sharers", "page_table_bytes", "page_table_saved_bytes"))


class Unit:
    """mshare-region@NAME.service with systemd's end of its notifications."""

    def __init__(self, env, name):
        path = os.path.join(env.top, "notify")
        self.said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.said.bind(path)
        self.said.settimeout(0.1)
        self.text = ""
        self.process = subprocess.Popen([*valgrind(), env.region_program, "run", name],
                                        env=dict(env.environ(), NOTIFY_SOCKET=path))

    def status(self):
        try:
            while True:
                for line in self.said.recv(4096).decode().splitlines():
                    if line.startswith("STATUS="):
                        self.text = line[len("STATUS="):]
        except socket.timeout:
            return self.text

    def becomes(self, text):
        wait_until(lambda: self.status() == text, timeout=60, what="%r; it is %r" % (text, self.text))

    def close(self):
        self.process.terminate()
        assert self.process.wait(60) == 0
        self.said.close()


def sentence(words):
    return "%s, %s resident, %s sharer%s, page tables: %s held once, %s saved" % (
        *words[:3], "" if words[2] == "1" else "s", *words[3:])


def test_figures_are_the_same_in_all_places(env):
    env.start()
    with open(os.path.join(env.regions_dir, "pgdata.conf"), "w", encoding="utf-8") as f:
        f.write("[Region]\nSize=256M\nUser=games\n")
    unit = Unit(env, "pgdata")
    try:
        compare(env, unit)
        unit.close()
    finally:
        # It outlives its broker.
        unit.process.kill()
        unit.process.wait()
    assert env.states() == []


def test_counters_are_the_same_in_all_places(env):
    env.start_polkit()
    env.start()
    root, c = env.client(0), env.client(harness.GAMES)
    root.create("r", mode=0o666)
    for _ in range(3):
        c.acquire("r")
    env.allow("org.mshare1.create-region")
    for create, name in ((root, "r"), (c, "s"), (c, "s")):
        try:
            create.create(name)
        except harness.BusError as e:
            assert e.is_("RegionExists"), e
    env.allow()
    try:
        c.remove("r")
        raise AssertionError("removed")
    except harness.BusError as e:
        assert e.is_("AccessDenied"), e
    asked = len(json.loads(env.polkit_do("Report"))["questions"])
    assert asked >= 2, asked

    text = ctl(env, "metrics")
    seen = dict(re.findall(r"^mshare_((?:broker|polkit)_\S+) (\S+)$", text, re.M))
    shown = json.loads(ctl(env, "show", "--json=short"))
    by_method = {name: (calls, errors) for name, calls, errors in shown["CallStatistics"]}
    for method, want in (("CreateRegion", (4, 2)), ("AcquireRegion", (3, 0)), ("RemoveRegion", (1, 1))):
        figures = tuple(int(seen['broker_%s_total{method="%s"}' % (what, method)]) for what in ("calls", "errors"))
        assert figures == by_method[method] == want, (method, figures, by_method[method], want)
    figures = tuple(int(seen["polkit_" + name]) for name in (
        "questions_total", 'answers_total{answer="yes"}', 'answers_total{answer="no"}', "waiting_calls"))
    want = tuple(shown[name] for name in ("PolkitAsked", "PolkitGranted", "PolkitDenied", "NPolkitWaiting"))
    assert figures == want == (asked, asked - 1, 1, 0), (figures, want, asked)
    assert abs(float(seen["polkit_wait_seconds_total"]) - shown["PolkitWaitUSec"] / 1e6) < 1e-6, seen
    status = ctl(env, "status")
    assert re.search(r"polkit: questions: %d; %d yes, 1 no, 0 failed" % (asked, asked - 1), status), status
    # The metrics count themselves, too; the status is asked for after them.
    calls = sum(int(n) for name, n in seen.items() if name.startswith("broker_calls_total"))
    assert int(re.search(r"Calls: (\d+),", status)[1]) > calls, (status, calls)


def compare(env, unit):
    unit.becomes("256M, 0B resident, 0 sharers, page tables: 0B held once, 0B saved")
    root = env.client(0)
    # The content of fdinfo: sharers, resident and tables in KiB.
    counts = (1, 4, 8), (105, 260000, 604), (1500, 262144, 1048577), (2, 1, 4)
    # Each look is a new process, which valgrind needs a second for. The largest and the smallest use the same code as all.
    for sharers, resident, tables in counts[2:] if valgrind() else counts:
        env.usage("pgdata", sharers, resident, tables)
        # A lease is announced, and the unit looks at once. The last numbers it must find by itself.
        if sharers != 2:
            root.acquire("pgdata")
        numbers = 256 * MiB, resident << 10, sharers, tables << 10, (sharers - 1) * tables << 10
        words = tuple(str(n) if i == 2 else size_word(n) for i, n in enumerate(numbers))
        for place in in_json, in_metrics:
            assert place(env, "pgdata") == numbers, (place, place(env, "pgdata"), numbers)
        for place in in_list, in_top, in_status:
            assert place(env, "pgdata") == words, (place, place(env, "pgdata"), words)
        unit.becomes(sentence(words))
    # While the broker is away, only the region's existence is known.
    env.stop()
    unit.becomes("Region pgdata exists, but the broker does not answer")
    env.start()
    unit.becomes(sentence(words))


if __name__ == "__main__":
    sys.exit(harness.run_tests([test_figures_are_the_same_in_all_places,
                                test_counters_are_the_same_in_all_places], lambda: harness.Env(binary, "dbus-daemon")))
