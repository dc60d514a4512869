#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Creating regions: the result, what is refused, and that a failed creation leaves nothing behind.

See promises.py for the arguments.
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, GRANULE, MAN, NEWS, BusError, TiB, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, SLOW, Monitor, equal, file_of_zeroes, main, refuses  # noqa: E402


def test_a_new_region_has_the_owner_mode_and_window_that_were_asked_for(env):
    env.start()
    root = env.client(0)
    path, address, length = root.create("pgdata", 300 << 20, 0o640, uid=GAMES, gid=MAN, label="a label")
    equal(path, "/org/mshare1/region/pgdata")
    equal(length, GRANULE)
    equal(address % GRANULE, 0)
    st = os.stat(env.fs("pgdata"))
    equal((st.st_uid, st.st_gid, st.st_mode & 0o7777), (GAMES, MAN, 0o640))
    row = root.list()["pgdata"]
    equal((row["path"], row["address"], row["length"], row["mode"], row["uid"], row["gid"], row["clients"],
           row["state"]), (path, address, length, 0o640, GAMES, MAN, 0, "ready"))
    equal(root.manager("GetRegion", "s", "pgdata"), path)
    everything = root.do("call", path=path, interface="org.freedesktop.DBus.Properties", member="GetAll",
                         signature="s", args=[REGION_IFACE])
    equal(everything["Size"], 300 << 20)
    equal(everything["Backing"], "anonymous")
    equal(everything["Lifetime"], "persistent")
    equal(everything["Label"], "a label")
    equal(everything["State"], "ready")
    equal(everything["Progress"], 1.0)
    assert abs(everything["CreatedUSec"] / 1e6 - time.time()) < 60


def test_the_creator_owns_a_region_unless_options_say_otherwise(env):
    env.start_polkit()
    env.allow("org.mshare1.create-region")
    env.start()
    c = env.client(GAMES, MAN, (MAN, NEWS, 2))
    c.create("mine")
    st = os.stat(env.fs("mine"))
    # The primary group, although another group has a lower number.
    equal((st.st_uid, st.st_gid), (GAMES, MAN))


def test_every_kind_of_backing_is_made(env):
    env.start()
    root = env.client(0)
    file = file_of_zeroes(env, "file", 1 << 20)
    for kind in ("anonymous", "memfd", "empty"):
        root.create("b-" + kind, 1 << 20, backing=kind)
    root.create("b-populated", 3 << 20, backing="memfd", populate=True, hugepages="never")
    fd = root.do("open", file=file)
    root.create("b-file", 1 << 20, backing="file", fd=fd, populate=True)
    read_only = root.do("open", file=file, flags="O_RDONLY")
    root.create("b-file-ro", 1 << 20, backing="file", fd=read_only, populate=True)
    equal(len(root.list()), 6)
    equal(root.get("/org/mshare1/region/b_2dfile", REGION_IFACE, "Backing"), "file")


def test_memory_comes_from_the_nodes_that_were_asked_for(env):
    env.start()
    root = env.client(0)

    def nodes(text):
        with open(os.path.join(env.kernel, "nodes"), "w", encoding="ascii") as f:
            f.write(text)

    def policy(name):
        return root.get("/org/mshare1/region/" + name, REGION_IFACE, "NUMA")

    called = os.path.join(env.kernel, "policy")
    with open(called, "w", encoding="ascii"):
        os.chmod(called, 0o666)
    nodes("0-1,3")
    root.create("plain", numa="default")
    equal(policy("plain"), "default")
    equal(os.path.getsize(called), 0)
    for name, backing, text, wants in (("spread", "anonymous", "interleave", "interleave"),
                                       ("bound", "memfd", "bind:3,0,1", "bind:0-1,3")):
        _, address, _ = root.create(name, 3 << 20, backing=backing, numa=text, populate=True)
        equal(policy(name), wants)
        with open(called, encoding="ascii") as f:
            equal(f.read(), "%#x %d %s" % (address, 3 << 20, wants))
    env.restart()
    equal([policy(name) for name in ("plain", "spread", "bound")], ["default", "interleave", "bind:0-1,3"])
    for name in ("plain", "spread", "bound"):
        root.remove(name)

    refuses("InvalidArgs", root.create, "x", numa="bind:0-2", contains=("'bind:0-2'", "node 2 ", "has_memory"))
    refuses("InvalidArgs", root.create, "x", numa="bind:x", contains=("'bind:x'", "bind:NODES"))
    refuses("InvalidArgs", root.create, "x", numa="interleave", backing="empty", contains=("'interleave'", "'empty'"))
    nodes("")
    refuses("NotSupported", root.create, "x", numa="interleave", contains=("'interleave'", "without NUMA"))
    root.create("y", numa="default")
    root.remove("y")
    equal((root.list(), os.listdir(env.kernel + "/fs"), env.states()), ({}, [], []))


def test_what_cannot_be_made_leaves_nothing_behind(env):
    env.start()
    root = env.client(0)
    file = file_of_zeroes(env, "file", 4096)
    pipe = root.do("pipe")
    small = root.do("open", file=file)
    directory = root.do("open", file=env.top, flags="O_RDONLY")
    refuses("InvalidArgs", root.create, "x", 4096, backing="file", fd=pipe[0], contains=("a pipe", "regular file"))
    refuses("InvalidArgs", root.create, "x", 4096, backing="file", fd=pipe[1], contains="not open for reading")
    refuses("InvalidArgs", root.create, "x", 4096, backing="file", fd=directory,
            contains=("a directory", "regular file"))
    refuses("InvalidSize", root.create, "x", 8192, backing="file", fd=small, contains=("4096", "8192"))
    # Test machines have no reserved huge pages. On a machine that has some, the region is created.
    try:
        root.create("x", 1 << 30, backing="hugetlb", populate=True)
        root.remove("x")
    except BusError as e:
        assert e.is_("NoMemory") or e.is_("NotSupported"), e
    with open(os.path.join(env.kernel, "refuse"), "w") as f:
        f.write("13")
    refuses("Failed", root.create, "x", 4096, contains="Permission denied")
    with open(os.path.join(env.kernel, "refuse"), "w") as f:
        f.write("38")
    refuses("KernelUnsupported", root.create, "x", 4096)
    os.unlink(os.path.join(env.kernel, "refuse"))
    equal(root.list(), {})
    equal(os.listdir(env.kernel + "/fs"), [])
    equal(env.states(), [])
    root.create("x", 4096)


def test_bad_arguments_are_refused_with_the_value_and_the_rule(env):
    env.start()
    root = env.client(0)
    for name in ("", "a/b", "..", ".", ".hidden", "a b", "a\x01b", "ü", "x" * 256, "a\nb", "a+b", "-x"):
        refuses("InvalidName", root.create, name, contains="1 to 255")
    root.create("x" * 255)
    root.remove("x" * 255)
    refuses("InvalidSize", root.create, "r", 0, contains="0 bytes")
    refuses("InvalidSize", root.create, "r", 2**64 - 1, contains=str(2**64 - 1))
    refuses("InvalidArgs", root.create, "r", mode=0o1777, contains="01777")
    refuses("InvalidArgs", root.create, "r", mode=2**32 - 1, contains="0777")
    refuses("InvalidArgs", root.create, "r", backing="cheese", contains=("cheese", "anonymous"))
    refuses("InvalidArgs", root.create, "r", backing="unknown", contains="unknown")
    refuses("InvalidArgs", root.create, "r", hugepages="maybe", contains="maybe")
    refuses("InvalidArgs", root.create, "r", lifetime="eternal", contains="eternal")
    refuses("InvalidArgs", root.create, "r", colour="red", contains="'colour'")
    refuses("InvalidArgs", root.create, "r", populate={"type": "String", "value": "yes"}, contains=("populate", "'b'"))
    refuses("InvalidArgs", root.create, "r", address={"type": "Int32", "value": 1}, contains=("address", "'t'"))
    refuses("InvalidArgs", root.create, "r", uid=2**32 - 1, contains="uid")
    refuses("InvalidArgs", root.create, "r", linger=10, contains="while-leased")
    refuses("InvalidArgs", root.create, "r", lifetime="while-leased", linger=2**63, contains="year")
    refuses("InvalidArgs", root.create, "r", backing="empty", populate=True, contains="populate")
    refuses("InvalidArgs", root.create, "r", backing="file", contains="'fd'")
    refuses("InvalidArgs", root.create, "r", backing="hugetlb", hugepages="always", contains="hugepages")
    refuses("InvalidArgs", root.create, "r", label="x" * 257, contains="257")
    refuses("InvalidArgs", root.create, "r", address=4096, contains="granule")
    refuses("InvalidArgs", root.create, "r", address=0, contains="first granule")
    refuses("InvalidArgs", root.create, "r", address=2**64 - GRANULE, contains="user space")
    refuses("InvalidArgs", root.manager, "CreateRegion", "s", "r")
    equal(root.list(), {})
    root.create("r")
    refuses("RegionExists", root.create, "r", contains="'r'")
    refuses("InvalidArgs", root.acquire, "r", "w", contains="'w'")
    refuses("InvalidArgs", root.manager, "AcquireRegion", "ssa{sv}", "r", "r", {"x": "y"}, contains="'x'")
    refuses("InvalidArgs", root.manager, "SetRegionMode", "su", "r", 0o4755, contains="04755")
    for member, signature, args in (("AcquireRegion", "ssa{sv}", ("r", {})), ("RemoveRegion", "sa{sv}", ({},)),
                                    ("SetRegionMode", "su", (0o600,)), ("SuspendRegion", "su", (0o600,)), ("SetRegionOwner", "suu", (1, 1)),
                                    ("GetRegion", "s", ()), ("ListClients", "s", ()), ("ReleaseRegion", "s", ())):
        refuses("NoSuchRegion", root.manager, member, signature, "gone", *args, contains="gone")
        refuses("InvalidName", root.manager, member, signature, "a/../b", *args, contains="a/../b")
    refuses("UnknownObject", root.region, "/org/mshare1/region/gone", "Remove", "a{sv}", {})
    equal(root.list()["r"]["mode"], 0o600)


def test_addresses_are_kept_apart_and_explicit_ones_honoured(env):
    env.start()
    root = env.client(0)
    seen = set()
    for i in range(12):
        _, address, length = root.create("r%d" % i, GRANULE + 1 if i == 3 else 4096)
        equal(length, 2 * GRANULE if i == 3 else GRANULE)
        for a in range(address, address + length, GRANULE):
            assert a not in seen
            seen.add(a)
    path, address, _ = root.create("fixed", 4096, address=44 * TiB)
    equal(address, 44 * TiB)
    refuses("AddressInUse", root.create, "second", 4096, address=44 * TiB,
            contains=("%#x" % (44 * TiB), "omit 'address'"))
    refuses("AddressInUse", root.create, "below", 2 * GRANULE, address=44 * TiB - GRANULE)
    # The donor's own mappings are not donated: its code is somewhere in that range.
    refuses("AddressInUse", root.create, "code", 17 * TiB, address=85 * TiB,
            contains=("ordinary", "omit 'address'"))
    root.create("below", 4096, address=44 * TiB - GRANULE)
    # A freed address is not given to the next regions.
    first = root.list()["r0"]["address"]
    root.remove("r0")
    for i in range(8):
        assert root.create("later%d" % i)[1] != first


def test_where_regions_lie_is_not_the_same_each_time(env):
    seen = []
    for _ in range(4):
        env.start()
        root = env.client(0)
        seen.append([root.create("r%d" % i)[1] for i in range(3)])
        for i in range(3):
            root.remove("r%d" % i)
        env.stop()
    # One of 10^13 addresses is not likely to be drawn twice.
    equal(len({tuple(s) for s in seen}), len(seen))
    assert any(s != sorted(s) for s in seen) or len({s[0] for s in seen}) > 1, seen


def test_the_address_space_is_a_limit(env):
    env.start()
    root = env.client(0)
    for name, size in (("a", 21 * TiB), ("b", 17 * TiB), ("c", 9 * TiB // 2)):
        root.create(name, size, backing="empty")
    refuses("NoAddressSpace", root.create, "d", backing="empty", contains=(str(GRANULE), "'address'"))
    refuses("NoAddressSpace", root.create, "e", 44 * TiB, backing="empty", contains=(str(44 * TiB), "(windows in use: "))
    # There are more addresses for callers that choose one.
    root.create("d", address=43 * TiB, backing="empty")
    equal(sorted(root.list()), ["a", "b", "c", "d"])


def test_an_error_says_whose_address_it_was(env):
    env.start()
    root = env.client(0)
    # Only in the process that creates the region the address is in use.
    with open(env.kernel + "/taken", "w") as f:
        f.write("%#x-%#x\n" % (20 * TiB, 80 * TiB))
    for size in (4096, GRANULE + 1):
        e = refuses("AddressInUse", root.create, "r", size, backing="empty",
                    contains=("which the broker chose", "try again", "set 'address'"))
        assert "omit 'address'" not in e.message, e.message
    e = refuses("AddressInUse", root.create, "r", backing="empty", address=44 * TiB,
                contains=("%#x" % (44 * TiB), "omit 'address'"))
    assert "the broker chose" not in e.message, e.message
    equal(root.list(), {})
    os.unlink(env.kernel + "/taken")
    root.create("r", backing="empty")


def test_what_cannot_be_written_down_is_not_made(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666)
    for d in ("leases", "regions"):
        os.chown(os.path.join(env.runtime, d), 0, 0)
    refuses("Failed", root.acquire, "r", contains=("lease", "'r'", "Permission denied"))
    refuses("Failed", root.create, "s", contains=("'s'", "Permission denied"))
    equal([(name, row["clients"]) for name, row in root.list().items()], [("r", 0)])
    equal((os.listdir(env.kernel + "/fs"), env.leases()), (["r"], []))
    for d in ("leases", "regions"):
        os.chown(os.path.join(env.runtime, d), DAEMON_UID, DAEMON_UID)
    root.acquire("r")
    root.create("s")


def test_that_a_region_has_had_clients_is_written_down_in_the_end(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666, lifetime="while-leased", linger=500000)
    regions = os.path.join(env.runtime, "regions")
    os.chown(regions, 0, 0)
    refuses("Failed", root.acquire, "r", contains="Permission denied")
    equal(env.leases(), [])
    os.chown(regions, DAEMON_UID, DAEMON_UID)
    lease = root.acquire("r")[2]
    root.do("close", fd=lease)
    wait_until(lambda: root.list()["r"]["clients"] == 0, what="the lease to be dropped")
    # Between two runs, the broker knows only what it has written.
    env.restart(signal.SIGKILL)
    wait_until(lambda: root.list() == {}, what="the region to go")


def test_a_region_that_is_being_made_says_so_and_can_be_cancelled(env):
    env.start()
    root, other = env.client(0), env.client(0)
    monitor = Monitor(env)
    size = 2 << 30
    root.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
              args=["big", size, 0o600, {"populate": True}])
    wait_until(lambda: "big" in other.list(), what="the region to show up")
    equal(other.list()["big"]["state"], "creating")
    wait_until(lambda: os.path.exists(env.fs("big")), what="the donor to make the file")
    equal(os.stat(env.fs("big")).st_mode & 0o777, 0)
    refuses("RegionNotReady", other.acquire, "big")
    refuses("RegionNotReady", other.manager, "SetRegionMode", "su", "big", 0o666)
    refuses("RegionExists", other.create, "big")
    began = time.monotonic()
    other.list()
    assert time.monotonic() - began < 0.2, "ListRegions is held up by populating"
    path = "/org/mshare1/region/big"
    assert 0 <= other.get(path, REGION_IFACE, "Progress") < 1
    # The region and its object exist by now, but no signal announces it before it is ready.
    assert path in other.do("call", path="/org/mshare1", interface="org.freedesktop.DBus.ObjectManager",
                            member="GetManagedObjects")
    wait_until(lambda: monitor.changes("/org/mshare1", "NRegions") == [1], what="the new number of regions")
    other.remove("big")
    refuses("NoSuchRegion", root.receive, contains="while it was being created")
    wait_until(lambda: monitor.changes("/org/mshare1", "NRegions") == [1, 0], what="the signal with the number of regions")
    equal([m["payload"]["data"] for m in monitor.signals("InterfacesRemoved", "/org/mshare1")],
          [[path, [REGION_IFACE]]])
    for member in ("InterfacesAdded", "RegionAdded", "RegionRemoved"):
        equal(monitor.signals(member, "/org/mshare1"), [])
    monitor.end()
    equal(os.listdir(env.kernel + "/fs"), [])
    equal((env.states(), other.list()), ([], {}))


def test_memory_that_is_not_there_is_not_populated(env):
    env.start()
    root, other = env.client(0), env.client(0)

    def available(n):
        with open(env.kernel + "/.available", "w") as f:
            f.write(str(n))
        os.rename(env.kernel + "/.available", env.kernel + "/available")

    available(1 << 30)
    refuses("NoMemory", root.create, "r", 1 << 30, 0o600, populate=True, contains=(" 0 of ", str(1 << 30)))
    # The broker waits for memory that is being freed.
    available(0)
    root.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
              args=["r", 64 << 20, 0o600, {"populate": True}])
    for n in range(1, 8):
        time.sleep(0.6)
        available(n << 24)
    root.receive()
    root.remove("r")
    # Without "populate", no memory is needed.
    root.create("r", 1 << 40, 0o600)
    root.remove("r")
    available(4 << 30)
    root.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
              args=["r", 2 << 30, 0o600, {"populate": True}])
    wait_until(lambda: "r" in other.list() and other.get("/org/mshare1/region/r", REGION_IFACE, "Progress") > 0,
               what="the donor to populate")
    available(80 << 20)
    refuses("NoMemory", root.receive, contains="bytes done; see MemAvailable and SwapFree in /proc/meminfo")
    equal((os.listdir(env.kernel + "/fs"), env.states(), other.list()), ([], [], {}))


def test_a_kill_at_any_moment_of_making_leaves_all_or_nothing(env):
    env.start()
    root = env.client(0)
    rounds = 4 if SLOW else 25
    for i in range(rounds):
        name = "r%d" % i
        root.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
                  args=[name, 4 << 20, 0o640, {"uid": GAMES, "populate": True}])
        time.sleep(0.001 * (i % 12))
        env.stop(signal.SIGKILL)
        try:
            answer = root.receive()
        except BusError:
            answer = None
        env.start()
        row = root.list().get(name)
        exists = os.path.exists(env.fs(name))
        equal(row is not None, exists)
        if answer:
            assert row, "the caller was told of a region that is lost"
        if row:
            st = os.stat(env.fs(name))
            equal((row["uid"], row["mode"], st.st_uid, st.st_mode & 0o777), (GAMES, 0o640, GAMES, 0o640))
            root.remove(name)
    equal(os.listdir(env.kernel + "/fs"), [])
    equal(env.states(), [])


if __name__ == "__main__":
    sys.exit(main(globals()))
