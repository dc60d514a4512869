#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the broker counts: calls by method, errors, questions to polkit and waits. See promises.py for the arguments."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, MAIL, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, equal, main, refuses  # noqa: E402

CREATE = {"path": "/org/mshare1", "interface": MANAGER_IFACE, "member": "CreateRegion", "signature": "stua{sv}"}
ENDS = ("Granted", "Denied", "Failed", "TimedOut", "Cancelled")


def calls(c):
    """Method: calls and errors, of those with any."""
    rows = c.get("/org/mshare1", MANAGER_IFACE, "CallStatistics")
    equal(len({name for name, _calls, _errors in rows}), len(rows))
    return {name: (n, errors) for name, n, errors in rows if n or errors}


def polkit(c):
    """What polkit was asked, how that ended, and how many wait."""
    return [c.get("/org/mshare1", MANAGER_IFACE, "Polkit" + name) for name in ("Asked", *ENDS)] + [
        c.get("/org/mshare1", MANAGER_IFACE, "NPolkitWaiting")]


def becomes(c, *numbers):
    wait_until(lambda: polkit(c) == list(numbers), timeout=40, what="%r; they are %r" % (numbers, polkit(c)))


def test_calls_are_counted_by_method(env):
    env.start()
    root = env.client(0)
    path = root.create("r", mode=0o666)[0]
    for _ in range(3):
        root.list()
    root.acquire("r")
    refuses("NoSuchRegion", root.acquire, "s")
    root.region(path, "SetMode", "u", 0o600)
    # Errors of the handler, of the donor, of the table of objects, and of the library, which no handler sees.
    refuses("InvalidArgs", root.region, path, "Acquire", "sa{sv}", "x", {})
    refuses("InvalidArgs", root.create, "bad", 1 << 20, 0o600, backing="file", fd=root.do("pipe")[0])
    refuses("UnknownObject", root.region, path + "_", "SetMode", "u", 0o600)
    refuses("InvalidArgs", root.manager, "GetRegion", "u", 1)
    for i in range(5):
        refuses("UnknownMethod", root.manager, "Method%d" % i)
    refuses("UnknownMethod", root.do, "call", path="/org/mshare1", interface="org.example.X", member="ListRegions")
    equal(calls(root), {"CreateRegion": (2, 1), "ListRegions": (3, 0), "AcquireRegion": (2, 1), "SetMode": (2, 1),
                        "Acquire": (1, 1), "GetRegion": (1, 1), "other": (6, 6), "Get": (1, 0)})
    # Another user sees the same, and no more than that.
    equal(calls(env.client(MAIL))["ListRegions"], (3, 0))
    env.restart()
    equal(calls(env.client(0)), {"Get": (1, 0)})


def test_a_call_that_waits_for_polkit_is_one_call(env):
    env.start_polkit()
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r")
    equal(polkit(root), [0] * 7)
    refuses("AccessDenied", c.create, "no")
    env.allow("org.mshare1.create-region")
    c.create("yes")
    env.polkit_do("SetChallenge", "b", "true")
    refuses("InteractiveAuthorizationRequired", c.acquire, "r")
    equal(polkit(root), [3, 1, 2, 0, 0, 0, 0])
    equal({n: v for n, v in calls(root).items() if n != "Get"}, {"CreateRegion": (3, 1), "AcquireRegion": (1, 1)})


def test_waits_for_polkit_are_counted(env):
    env.start_polkit()
    env.start()
    root, c = env.client(0), env.client(GAMES)
    env.polkit_do("SetHang", "b", "true")
    # A user has 16 places; the others of the 20 wait for one.
    c.do("send", args=["r", 4096, 0o600, {}], times=20, **CREATE)
    becomes(root, 16, 0, 0, 0, 0, 0, 20)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "PolkitWaitUSec"), 0)
    time.sleep(0.5)
    c.kill()
    becomes(root, 16, 0, 0, 0, 0, 16, 0)
    waited = root.get("/org/mshare1", MANAGER_IFACE, "PolkitWaitUSec")
    assert waited >= 20 * 500000, waited
    # An answer that comes too late, or to a caller that has gone, changes nothing.
    began = time.monotonic()
    late = env.client(MAIL)
    env.polkit_do("SetDeaf", "b", "true")
    refuses("AccessDenied", late.create, "r", contains="did not answer in time")
    took = time.monotonic() - began
    becomes(root, 17, 0, 0, 0, 1, 16, 0)
    env.polkit_do("Release")
    env.polkit_do("SetHang", "b", "false")
    env.allow("org.mshare1.create-region")
    late.create("r")
    becomes(root, 18, 1, 0, 0, 1, 16, 0)
    more = root.get("/org/mshare1", MANAGER_IFACE, "PolkitWaitUSec") - waited
    assert 24e6 < more < (took + 5) * 1e6, (more, took)
    # Every question has been counted, as polkit has seen it.
    equal(len(json.loads(env.polkit_do("Report"))["questions"]), 18)


def test_a_polkit_that_fails_is_counted(env):
    env.start_polkit()
    env.start()
    root, c = env.client(0), env.client(GAMES)
    env.polkit_do("SetHang", "b", "true")
    c.send("call", args=["r", 4096, 0o600, {}], **CREATE)
    becomes(root, 1, 0, 0, 0, 0, 0, 1)
    env.polkit.kill()
    env.polkit.wait()
    env.polkit = None
    refuses("AccessDenied", c.receive)
    refuses("AccessDenied", c.create, "r", contains="no polkit")
    equal(polkit(root), [2, 0, 0, 2, 0, 0, 0])


def test_what_is_counted_is_not_announced(env):
    env.start()
    root = env.client(0)
    path = root.create("r")[0]
    root.get(path, REGION_IFACE, "Name")
    names = ["CallStatistics", "NPolkitWaiting", "PolkitAsked", "PolkitWaitUSec"] + ["Polkit" + name for name in ENDS]
    xml = root.do("call", path="/org/mshare1", interface="org.freedesktop.DBus.Introspectable", member="Introspect")
    for name in names:
        one = xml.split('<property name="%s"' % name)[1].split("</property>")[0]
        assert 'EmitsChangedSignal" value="false"' in one, one


if __name__ == "__main__":
    sys.exit(main(globals()))
