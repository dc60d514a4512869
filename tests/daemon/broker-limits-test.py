#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Limits, and what an unprivileged user cannot do. See promises.py for the arguments."""

import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, MAIL, Skip, TiB, wait_until  # noqa: E402
from promises import MANAGER_IFACE, SLOW, Monitor, equal, main, refuses  # noqa: E402


def test_limits_name_themselves_and_their_setting(env):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nRegionsMax=5\nRegionsPerUserMax=2\nBytesPerUserMax=1M\nLeasesPerRegionMax=3\nnonsense\n")
    with open(env.config + "/mshared.conf.d/10-leases.conf", "w") as f:
        f.write("[Limits]\nLeasesPerUserMax=2\nRegionsMax=cheese\n")
    env.start_polkit()
    env.allow("org.mshare1.create-region")
    env.start()
    root, c = env.client(0), env.client(GAMES)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "RegionsMax"), 5)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "BytesPerUserMax"), 1 << 20)
    refuses("LimitExceeded", c.create, "big", (1 << 20) + 1, contains=("BytesPerUserMax", "1048576"))
    c.create("a", 4096)
    refuses("LimitExceeded", c.create, "big", 1 << 20, contains=("BytesPerUserMax", "1048576", ", in use: 4096, requested: 1048576;"))
    c.create("b", 4096)
    refuses("LimitExceeded", c.create, "c", 4096, contains="RegionsPerUserMax")
    c.remove("b")
    c.create("b", 4096)
    for i in range(3):
        root.create("root%d" % i, 1 << 30, 0o666)
    refuses("LimitExceeded", root.create, "more", 4096, contains="RegionsMax")
    c.acquire("root0")
    lease = c.acquire("root1")[2]
    refuses("LimitExceeded", c.acquire, "root2", contains="LeasesPerUserMax")
    c.do("close", fd=lease)
    wait_until(lambda: root.list()["root1"]["clients"] == 0)
    c.acquire("root0")
    # For root, only root's own regions count.
    for _ in range(3):
        root.acquire("root0")
    refuses("LimitExceeded", root.acquire, "root0", contains="LeasesPerRegionMax")
    log = env.read_log()
    assert "mshared.conf:6" in log and "10-leases.conf:3" in log, log
    # Limits count what existed before a restart, and are read again on a signal.
    env.restart()
    refuses("LimitExceeded", c.create, "c", 4096, contains="RegionsMax")
    root.remove("root2", force=True)
    refuses("LimitExceeded", c.create, "c", 4096, contains="RegionsPerUserMax")
    with open(env.config + "/mshared.conf.d/20.conf", "w") as f:
        f.write("[Limits]\nRegionsMax=50\nRegionsPerUserMax=3\n")
    monitor = Monitor(env)
    env.daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: root.get("/org/mshare1", MANAGER_IFACE, "RegionsPerUserMax") == 3)
    wait_until(lambda: monitor.changes("/org/mshare1", "RegionsPerUserMax") == [3], what="the new limit to be told")
    equal(monitor.changes("/org/mshare1", "RegionsMax"), [50])
    monitor.end()
    c.create("c", 4096)
    # "infinity" means no limit. A limit that is no longer in the file returns to its default.
    os.unlink(env.config + "/mshared.conf.d/20.conf")
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nRegionsPerUserMax=infinity\n")
    env.daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: root.get("/org/mshare1", MANAGER_IFACE, "RegionsPerUserMax") == 2**64 - 1)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "RegionsMax"), 1024)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "LeasesPerUserMax"), 2)


def test_pending_calls_of_a_user_are_limited(env):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nPendingCallsPerUserMax=30\n")
    env.start_polkit()
    env.start()
    env.polkit_do("SetHang", "b", "true")
    c, d, other = env.client(GAMES), env.client(GAMES), env.client(MAIL)
    c.do("send", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
         args=["r", 4096, 0o600, {}], times=30)
    wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] == 16)
    refuses("LimitExceeded", d.create, "s", contains="PendingCallsPerUserMax")
    other.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
               args=["t", 4096, 0o600, {}])
    wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] == 17)
    c.kill()
    env.allow("org.mshare1.create-region")
    env.polkit_do("SetHang", "b", "false")
    env.polkit_do("Release")
    other.receive()
    wait_until(lambda: d.create("s"))


def test_leases_do_not_use_up_all_descriptors(env):
    if env.wrapper:
        raise Skip("the descriptors of valgrind are counted, too")
    env.wrapper = ["prlimit", "--nofile=300:300"]
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666)
    counts = root.do("many", path="/org/mshare1", interface=MANAGER_IFACE, member="AcquireRegion", signature="ssa{sv}",
                     args=["r", "r", {}], times=60)
    equal(sorted(counts), ["ok", "org.mshare1.Error.LimitExceeded"])
    equal(counts["ok"], 300 - 256)
    refuses("LimitExceeded", root.acquire, "r", contains="LimitNOFILE")
    equal(len(root.list()), 1)


def test_a_call_counts_once_while_it_is_pending(env):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nPendingCallsPerUserMax=1\n")
    env.start_polkit()
    env.start()
    env.allow("org.mshare1.create-region")
    c = env.client(GAMES)
    for _ in range(3):
        # It waited for polkit, and then for the donor.
        c.create("r", populate=True)
        c.remove("r")
    # A running creation is a pending call, whether or not polkit was asked.
    with open(env.kernel + "/available", "w") as f:
        f.write("0")
    c.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
           args=["r", 4096, 0o600, {"populate": True}])
    d = env.client(GAMES)
    wait_until(lambda: "r" in d.list())
    refuses("LimitExceeded", d.create, "s", contains="PendingCallsPerUserMax")
    d.remove("r")
    refuses("NoSuchRegion", c.receive)
    os.unlink(env.kernel + "/available")
    d.create("s")


def test_an_unprivileged_user_cannot_hurt(env):
    # So many that the first flood reaches all of them, and the peak of memory, however fast the bus is.
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nPendingCallsPerUserMax=2048\n")
    env.start_polkit()
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666)
    times = 200 if SLOW else 2000
    calls = [("ListRegions", "", []), ("GetRegion", "s", ["r"]), ("GetRegion", "s", ["x" * 100000]),
             ("AcquireRegion", "ssa{sv}", ["r", "q", {}]), ("AcquireRegion", "s", ["r"]),
             ("RemoveRegion", "sa{sv}", ["nope", {}]), ("SetRegionMode", "su", ["r", 0o7777]),
             ("ListClients", "s", ["\x7f"]), ("CreateRegion", "stua{sv}", ["x", 0, 0, {}]),
             ("CreateRegion", "stua{sv}", ["x", 2**63, 0o600, {"label": "y" * 200000}]), ("NoSuchMethod", "", []),
             ("CreateRegion", "v", [5]), ("ReleaseRegion", "s", ["r"])]

    def attack(rounds):
        for _ in range(rounds):
            for member, signature, args in calls:
                c.do("many", path="/org/mshare1", interface=MANAGER_IFACE, member=member, signature=signature, args=args,
                     times=times // 5)
        # Connections that end in the middle of it.
        for _ in range(rounds * 6):
            env.client(MAIL).do("flood", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion",
                                signature="stua{sv}", args=["x", 4096, 0o600, {}], times=times * 5 // 4)
            env.clients.pop().kill()
        wait_until(lambda: root.list()["r"]["clients"] == 0)
        time.sleep(0.5)

    attack(1)
    # A sanitizer keeps freed memory on purpose.
    measured = not env.wrapper and not SLOW and b"__asan_init" not in open(env.binary, "rb").read()
    # The most that pending calls can need may be reached in any round. But memory that is lost grows in each.
    seen = [env.rss_kb()]
    for _ in range(4):
        attack(3)
        seen.append(env.rss_kb())
        if not measured or seen[-1] < seen[-2] + 512:
            break
    else:
        raise AssertionError("memory grows: %r kB" % seen)
    print("# RSS: %r kB" % seen)
    equal(sorted(root.list()), ["r"])
    equal((env.states(), env.leases()), (["r"], []))


def test_no_user_takes_all_addresses(env):
    env.start_polkit()
    env.allow("org.mshare1.create-region")
    env.start()
    root, one, other = env.client(0), env.client(GAMES), env.client(MAIL)
    # The default addresses are 42.5 TiB. These are at the beginning.
    one.create("a", 4096, maximum=15 * TiB, address=43 * TiB // 2)
    refuses("NoAddressSpace", one.create, "b", 4096, maximum=7 * TiB,
            contains=("user %d" % GAMES, str(15 * TiB), str(7 * TiB), "'maximum'"))
    # Neither at other addresses.
    refuses("NoAddressSpace", one.create, "b", 4096, maximum=7 * TiB, address=1 * TiB)
    one.create("b", 4096, maximum=6 * TiB, address=73 * TiB // 2)
    other.create("c", 4096, maximum=10 * TiB)
    refuses("NoAddressSpace", other.create, "d", 4096, maximum=TiB)
    root.create("e", 4096, maximum=2 * TiB)
    one.remove("a")
    one.create("a", 4096, maximum=4 * TiB)


def test_no_user_takes_all_regions(env):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nRegionsMax=8\nRegionsPerUserMax=8\n")
    env.start_polkit()
    env.allow("org.mshare1.create-region")
    env.start()
    root, one, other = env.client(0), env.client(GAMES), env.client(MAIL)
    for i in range(4):
        one.create("a%d" % i, 4096)
    refuses("LimitExceeded", one.create, "a4", 4096, contains=("User %d has reached its share of regions: 4, with 4 in all" % GAMES, "RegionsMax"))
    other.create("b0", 4096)
    other.create("b1", 4096)
    refuses("LimitExceeded", other.create, "b2", 4096, contains="RegionsMax")
    root.create("c0", 4096)
    root.create("c1", 4096)
    refuses("LimitExceeded", root.create, "c2", 4096, contains="RegionsMax")


if __name__ == "__main__":
    sys.exit(main(globals()))
