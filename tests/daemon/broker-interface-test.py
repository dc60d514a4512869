#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Properties, signals, names and introspection: the interface as clients see it. See promises.py for the arguments."""

import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, GRANULE, MAIL, BusError, Skip, TiB, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, Monitor, equal, main, refuses  # noqa: E402


def test_progress_and_state_are_signalled(env):
    env.start()
    root = env.client(0)
    monitor = Monitor(env)
    root.create("one", 1 << 30, 0o600, populate=True)
    lease = root.acquire("one")[2]
    root.manager("SetRegionMode", "su", "one", 0o640)
    root.manager("SetRegionOwner", "suu", "one", GAMES, 2**32 - 1)
    root.do("close", fd=lease)
    wait_until(lambda: root.list()["one"]["clients"] == 0)
    time.sleep(0.3)
    root.remove("one")
    time.sleep(0.5)
    signals = [m for m in monitor.end() if m["type"] == "signal"]
    members = [m["member"] for m in signals if m.get("interface") == MANAGER_IFACE]
    equal(members, ["RegionAdded", "ClientAcquired", "ClientReleased", "RegionRemoved"])
    added = [m for m in signals if m["member"] == "InterfacesAdded"]
    equal(len(added), 1)
    properties = {k: v["data"] for k, v in added[0]["payload"]["data"][1][REGION_IFACE].items()}
    equal((properties["Name"], properties["State"]), ("one", "ready"))
    # The signal goes to all clients, so it must not contain the region's address.
    equal((properties["Address"], properties["Length"]), (0, 0))
    equal(len([m for m in signals if m["member"] == "InterfacesRemoved"]), 1)
    changes = {}
    for m in signals:
        if m["member"] == "PropertiesChanged" and m["path"] == "/org/mshare1/region/one":
            for k, v in m["payload"]["data"][1].items():
                changes.setdefault(k, []).append(v["data"])
    equal(changes["Mode"][-1], 0o640)
    equal(changes["UID"][-1], GAMES)
    equal(changes["NClients"][-1], 0)
    equal(changes["State"], ["ready"])
    equal(changes["Progress"][-1], 1.0)
    assert all(a <= b for a, b in zip(changes["Progress"], changes["Progress"][1:]))
    order = [m["member"] for m in signals]
    assert order.index("InterfacesAdded") < order.index("RegionRemoved")


def test_counters_are_signalled_together(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666)
    monitor = Monitor(env)
    began = time.monotonic()
    leases = [root.acquire("r")[2] for _ in range(200)]
    most = 10 * (time.monotonic() - began) + 2
    time.sleep(0.5)
    changed = [m for m in monitor.end() if m.get("member") == "PropertiesChanged" and m["path"].endswith("/r")]
    counts = [c["payload"]["data"][1]["NClients"]["data"] for c in changed if "NClients" in c["payload"]["data"][1]]
    assert 1 <= len(counts) <= most, "%d signals for 200 clients, at most %d in that time" % (len(counts), most)
    equal(counts[-1], len(leases))


def test_usage_comes_from_the_kernel(env):
    env.start()
    root = env.client(0)
    root.create("r")
    root.create("s")
    env.usage("r", 10, 4096, 12)
    env.usage("s", 1, 0, 8)
    path = "/org/mshare1/region/r"
    equal((root.get(path, REGION_IFACE, "NSharers"), root.get(path, REGION_IFACE, "NWriters")), (10, 10))
    equal(root.get(path, REGION_IFACE, "ResidentBytes"), 4096 * 1024)
    equal(root.get(path, REGION_IFACE, "PageTableBytes"), 12 * 1024)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "PageTableBytes"), 20 * 1024)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "PageTableBytesSaved"), 9 * 12 * 1024)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "Granule"), GRANULE)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "KernelSupport"), True)
    env.usage("r", 10, 4096, 12, writers=3)
    equal((root.get(path, REGION_IFACE, "NSharers"), root.get(path, REGION_IFACE, "NWriters")), (10, 3))
    # The broker may read the numbers of regions that do not admit it.
    root.manager("SetRegionMode", "su", "r", 0)
    equal(root.get(path, REGION_IFACE, "NSharers"), 10)


def test_a_kernel_without_mshare_is_said_to_be_one(env):
    open(env.kernel + "/unsupported", "w").close()
    env.start()
    root = env.client(0)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "KernelSupport"), False)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "Granule"), 0)
    refuses("KernelUnsupported", root.create, "r", contains="6.12")
    refuses("KernelUnsupported", root.acquire, "r", contains="6.12")
    equal(root.list(), {})
    # To remove something that is gone succeeds, so a unit's stop does not fail.
    refuses("NoSuchRegion", root.manager, "RemoveRegion", "sa{sv}", "r", {})


def test_msharefs_that_is_mounted_too_late_is_left_alone(env):
    env.start()
    root = env.client(0)
    root.create("old", mode=0o640, label="a label")
    env.stop()
    os.rename(env.kernel + "/fs", env.kernel + "/later")
    env.start()
    refuses("KernelUnsupported", root.create, "r", contains=("not mounted", "sys-fs-mshare.mount"))
    os.rename(env.kernel + "/later", env.kernel + "/fs")
    # Its regions have not been loaded, and a region created now could take the address of one of them.
    refuses("KernelUnsupported", root.create, "r", contains="then restart mshared")
    refuses("KernelUnsupported", root.acquire, "old", contains="then restart mshared")
    # It does not claim that they do not exist either: a unit's stop would assume that they were removed.
    refuses("KernelUnsupported", root.remove, "old", contains="then restart mshared")
    refuses("KernelUnsupported", root.manager, "GetRegion", "s", "old", contains="then restart mshared")
    refuses("InvalidName", root.remove, "a/b")
    assert os.path.exists(env.fs("old"))
    env.restart()
    equal(root.get(root.list()["old"]["path"], REGION_IFACE, "Label"), "a label")
    root.create("r")


def test_a_regions_own_methods_do_what_the_managers_do(env):
    env.start_polkit()
    env.start()
    root, owner, other = env.client(0), env.client(GAMES), env.client(MAIL)
    path, address, length = root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    equal(owner.region(path, "Acquire", "sa{sv}", "rw", {})[:2], [address, length])
    equal(root.list()["r"]["clients"], 1)
    refuses("AccessDenied", other.region, path, "Acquire", "sa{sv}", "r", {})
    refuses("InvalidArgs", owner.region, path, "Acquire", "sa{sv}", "w", {}, contains="'w'")
    env.allow("org.mshare1.set-owner")
    owner.region(path, "SetOwner", "uu", MAIL, 2**32 - 1)
    equal((os.stat(env.fs("r")).st_uid, os.stat(env.fs("r")).st_gid), (MAIL, GAMES))
    refuses("RegionBusy", other.region, path, "Remove", "a{sv}", {})
    owner.kill()
    wait_until(lambda: root.list()["r"]["clients"] == 0)
    other.region(path, "Remove", "a{sv}", {})
    equal((os.listdir(env.kernel + "/fs"), env.states(), root.list()), ([], [], {}))


def test_introspection_is_what_the_xml_files_say(env):
    env.start()
    root = env.client(0)
    root.create("r")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare-introspection.py")
    for path, name in (("/org/mshare1", MANAGER_IFACE), ("/org/mshare1/region/r", REGION_IFACE)):
        xml = root.do("call", path=path, interface="org.freedesktop.DBus.Introspectable", member="Introspect")
        r = subprocess.run(["/usr/bin/python3", script, name], input=xml, capture_output=True, text=True)
        assert r.returncode == 0, r.stdout + r.stderr
    xml = root.do("call", path="/org/mshare1", interface="org.freedesktop.DBus.Introspectable", member="Introspect")
    assert "org.freedesktop.DBus.ObjectManager" in xml and '<node name="region"' in xml
    xml = root.do("call", path="/org/mshare1/region", interface="org.freedesktop.DBus.Introspectable",
                  member="Introspect")
    assert '<node name="r"' in xml, xml


def test_the_log_level_is_roots_to_set(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    args = {"path": "/org/freedesktop/LogControl1", "interface": "org.freedesktop.DBus.Properties"}

    def level(who):
        return who.do("call", member="Get", signature="ss", args=["org.freedesktop.LogControl1", "LogLevel"], **args)

    def set_level(who, value):
        r = subprocess.run(["setpriv", "--reuid=%d" % who, "--clear-groups", "busctl",
                            "--address=" + env.bus.address, "set-property", "org.mshare1",
                            "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1", "LogLevel", "s", value],
                           capture_output=True, text=True)
        return r.returncode, r.stderr

    equal(level(c), "info")
    equal(set_level(0, "debug")[0], 0)
    equal(level(root), "debug")
    assert set_level(GAMES, "err")[0] != 0
    assert "'loud'" in set_level(0, "loud")[1]
    equal(level(root), "debug")
    equal(c.do("call", member="Get", signature="ss", args=["org.freedesktop.LogControl1", "SyslogIdentifier"], **args),
          "mshared")


def test_calls_of_a_new_connection_are_served_in_their_order(env):
    env.start()
    root = env.client(0)
    for i in range(20):
        c = env.client(0)
        # Create a region and use it at once, before the broker has the caller's credentials.
        c.send("send", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
               args=["r%d" % i, 4096, 0o600, {}])
        c.receive()
        refused = None
        try:
            c.manager("SetRegionMode", "su", "r%d" % i, 0o640)
        except BusError as e:
            refused = e
        assert refused is None or refused.is_("RegionNotReady"), refused
    wait_until(lambda: len(root.list()) == 20)


def test_a_region_keeps_a_name_that_a_new_one_may_not_have(env):
    env.start()
    root = env.client(0)
    names = ["-x", "a+b", "y" * 255]
    for i, name in enumerate(names):
        with open(env.fs(".#r"), "wb") as f:
            f.write(((30 + i) * TiB).to_bytes(8, "little") + GRANULE.to_bytes(8, "little"))
        os.chmod(env.fs(".#r"), 0o600)
        os.rename(env.fs(".#r"), env.fs(name))
    wait_until(lambda: sorted(root.list()) == names, what="the adoption")
    env.restart()
    root = env.client(0)
    for name in names:
        root.manager("SetRegionMode", "su", name, 0o640)
        root.manager("SetRegionOwner", "suu", name, GAMES, GAMES)
        equal(root.acquire(name)[0], root.list()[name]["address"])
        root.remove(name, force=True)
    refuses("InvalidName", root.create, "-x", contains="no dot or dash")
    refuses("InvalidName", root.create, "a+b", contains="a-z")


def test_a_name_that_may_be_had_makes_an_instance_of_the_unit(env):
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed")
    env.start()
    root = env.client(0)
    # Not the colon, because systemd-analyze splits its arguments there.
    name = "aZ09._@-" + "x" * 225
    equal(len(name), 233)
    root.create(name)
    with open(os.path.join(env.top, "mshare-region@.service"), "w") as f:
        f.write("[Service]\nExecStart=/bin/true\n")

    def verify(instance):
        link = os.path.join(env.top, "mshare-region@%s.service" % instance)
        os.symlink("mshare-region@.service", link)
        return subprocess.run(["systemd-analyze", "verify", "--man=no", link], capture_output=True, text=True)

    r = verify(name)
    assert r.returncode == 0, r.stderr
    r = verify("a+b")
    assert r.returncode != 0 and "a+b" in r.stderr, r.stderr


if __name__ == "__main__":
    sys.exit(main(globals()))
