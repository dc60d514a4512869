#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Leases: when they begin and end, and what depends on them. See promises.py for the arguments."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, MAIL, BusError, wait_until  # noqa: E402
from promises import MANAGER_IFACE, SLOW, Held, Monitor, equal, main, refuses  # noqa: E402


def test_a_lease_counts_until_the_last_process_that_has_it_is_gone(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666)

    def clients():
        return root.list()["r"]["clients"]

    c = env.client(GAMES)
    c.acquire("r", "r")
    equal(clients(), 1)
    rows = root.manager("ListClients", "s", "r")
    equal([rows[0][0], rows[0][1], rows[0][3]], [GAMES, c.process.pid, "r"])
    assert abs(rows[0][4] / 1e6 - time.time()) < 60
    child = c.do("fork_hold")
    gone = c.do("exec_hold")
    c.do("disconnect")
    refuses("RegionBusy", root.remove, "r", contains="1 client;")
    # The child holds it by fork alone; the other process dropped it by exec.
    c.do("close", fd=1)
    time.sleep(0.3)
    equal(clients(), 1)
    c.do("kill_child", pid=child)
    wait_until(lambda: clients() == 0, what="the lease to be dropped")
    c.do("kill_child", pid=gone)
    c.acquire("r")
    c.kill()
    wait_until(lambda: clients() == 0, what="the lease of a killed process to be dropped")
    equal(env.leases(), [])
    root.remove("r")


def test_who_has_left_is_gone_before_the_next_call(env):
    env.start()
    root, other = env.client(0), env.client(0)
    for _ in range(5 if SLOW else 50):
        root.create("r", mode=0o666)
        leases = [c.acquire("r", "rw")[2] for c in (root, other)]
        # dbus-broker keeps a passed descriptor until the next message to the same client.
        for c in (root, other):
            c.list()
        other.do("close", fd=leases[1])
        root.do("close_and_call", fd=leases[0], path="/org/mshare1", interface=MANAGER_IFACE, member="RemoveRegion",
                signature="sa{sv}", args=["r", {}])


def test_release_drops_the_leases_of_that_connection_only(env):
    env.start()
    root, a, b = env.client(0), env.client(GAMES), env.client(GAMES)
    root.create("r", mode=0o666)
    a.acquire("r")
    a.acquire("r")
    b.acquire("r")
    equal(root.list()["r"]["clients"], 3)
    a.manager("ReleaseRegion", "s", "r")
    equal(root.list()["r"]["clients"], 1)
    a.manager("ReleaseRegion", "s", "r")
    equal(root.list()["r"]["clients"], 1)
    env.restart()
    b.manager("ReleaseRegion", "s", "r")
    equal(root.list()["r"]["clients"], 0)


def test_a_client_that_abuses_its_lease_harms_no_other(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666)
    lease = c.acquire("r")[2]
    for _ in range(100):
        try:
            c.do("write", fd=lease, bytes=100000)
        except BusError as e:
            equal(e.message, "11")
    equal(root.list()["r"]["clients"], 1)
    c.do("close", fd=lease)
    wait_until(lambda: root.list()["r"]["clients"] == 0)


def test_force_removes_a_region_with_clients(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666)
    c.acquire("r")
    refuses("RegionBusy", root.remove, "r", force=False)
    root.remove("r", force=True)
    equal(root.list(), {})
    equal((env.leases(), env.states(), os.listdir(env.kernel + "/fs")), ([], [], []))
    refuses("NoSuchRegion", c.acquire, "r")
    root.create("s")
    env.usage("s", 2)
    refuses("RegionBusy", root.remove, "s", contains="2 processes")
    env.usage("s", 0)
    root.remove("s")


def test_a_region_that_lives_while_leased_goes_after_its_last_client(env):
    env.start()
    root = env.client(0)
    root.create("now", mode=0o666, lifetime="while-leased")
    root.create("later", mode=0o666, lifetime="while-leased", linger=5000000)
    root.create("used", mode=0o666, lifetime="while-leased")
    time.sleep(0.3)
    equal(len(root.list()), 3)
    c = env.client(GAMES)
    for name in ("now", "later", "used"):
        c.acquire(name)
    env.usage("used", 1)
    d = env.client(GAMES)
    c.kill()
    wait_until(lambda: "now" not in root.list(), what="the region to go")
    assert "later" in root.list()
    # A new client within that time keeps the region.
    d.acquire("later")
    time.sleep(6)
    assert "later" in root.list()
    env.restart()
    d.kill()
    wait_until(lambda: "later" not in root.list(), timeout=30, what="the region to go after a restart")
    # No lease, but the kernel has sharers.
    assert "used" in root.list()
    env.usage("used", 0)
    wait_until(lambda: "used" not in root.list(), timeout=20, what="the region to go with its last sharer")


def test_a_region_that_cannot_go_yet_goes_later(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666, lifetime="while-leased")
    lease = root.acquire("r")[2]
    os.chown(env.kernel + "/fs", 0, 0)
    root.do("close", fd=lease)
    wait_until(lambda: "Cannot unlink region r: Permission denied" in env.read_log(), what="the region to stay")
    equal(root.list()["r"]["clients"], 0)
    os.chown(env.kernel + "/fs", DAEMON_UID, DAEMON_UID)
    wait_until(lambda: root.list() == {}, what="the region to go")
    equal((os.listdir(env.kernel + "/fs"), env.states()), ([], []))


def test_a_lease_is_released_by_its_own_user_only(env):
    env.start()
    root, c, other = env.client(0), env.client(GAMES), env.client(MAIL)
    root.create("r", mode=0o666)
    c.acquire("r")
    env.stop()
    # As if the bus had assigned the name again.
    file = env.leases()[0]
    changed = ",".join(other.do("unique_name") if f.startswith(":") else f for f in file.split(","))
    os.rename(os.path.join(env.runtime, "leases", file), os.path.join(env.runtime, "leases", changed))
    env.start()
    other.manager("ReleaseRegion", "s", "r")
    equal(root.list()["r"]["clients"], 1)


def test_a_region_that_goes_while_it_is_acquired_harms_nothing(env):
    env.start_polkit()
    env.start()
    root, stranger = env.client(0), env.client(MAIL)
    root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    env.allow("org.mshare1.acquire-region")
    monitor = Monitor(env)
    with Held(env, "lease") as held:
        stranger.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="AcquireRegion", signature="ssa{sv}",
                      args=["r", "rw", {}])
        held.wait()
        os.unlink(env.fs("r"))
    stranger.receive()
    equal((root.list(), env.states(), env.leases()), ({}, [], []))
    wait_until(lambda: monitor.signals("RegionRemoved", "/org/mshare1"), what="the signal")
    said = [(m["member"], m["payload"]["data"]) for m in monitor.end() if m.get("interface") == MANAGER_IFACE and m["type"] == "signal"]
    equal(said, [("ClientAcquired", ["r", MAIL]), ("RegionRemoved", ["r", "/org/mshare1/region/r"])])


if __name__ == "__main__":
    sys.exit(main(globals()))
