#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Regions that change size: permissions, limits, and what is left if the broker is killed meanwhile.

See promises.py for the arguments.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, GRANULE, MAIL, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, Monitor, equal, file_of_zeroes, main, make_by_hand, refuses  # noqa: E402

MIB = 1 << 20


def size(client, name):
    return client.get("/org/mshare1/region/" + name, REGION_IFACE, "Size")


def state(env, name):
    with open(os.path.join(env.runtime, "regions", name)) as f:
        return dict(line.split("=", 1) for line in f.read().splitlines() if "=" in line)


def sizes(env, name):
    return tuple(int(state(env, name).get(key, 0)) for key in ("SIZE", "EXTENT"))


def put(env, name, text=""):
    with open(os.path.join(env.kernel, name), "w") as f:
        f.write(text)
        os.fchown(f.fileno(), DAEMON_UID, DAEMON_UID)


def get(env, name):
    with open(os.path.join(env.kernel, name)) as f:
        return f.read()


def take(env, name):
    os.unlink(os.path.join(env.kernel, name))


def attached(env):
    with open(os.path.join(env.kernel, "attached")) as f:
        return len(f.readlines())


def test_a_region_grows_and_shrinks(env):
    env.start()
    root = env.client(0)
    put(env, "attached")
    monitor = Monitor(env)
    for backing in ("anonymous", "memfd"):
        root.create(backing, MIB, backing=backing)
        path = "/org/mshare1/region/" + backing
        root.resize(backing, 8 * MIB, populate=True)
        equal((size(root, backing), sizes(env, backing)), (8 * MIB, (8 * MIB, 0)))
        root.region(path, "Resize", "ta{sv}", 4096, {})
        equal((size(root, backing), sizes(env, backing)), (4096, (4096, 0)))
        wait_until(lambda p=path: monitor.changes(p, "Size") and monitor.changes(p, "Size")[-1] == 4096, what="the change to be told")
        # The same size is no change.
        before = attached(env)
        root.resize(backing, 4096)
        equal(attached(env), before)
    monitor.end()
    equal(attached(env), 4)
    log = env.read_log()
    assert "Size of region memfd set from 1048576 to 8388608 bytes" in log, log
    root.create("file", 2 * MIB, backing="file", fd=root.do("open", file=file_of_zeroes(env, "zeroes", 2 * MIB)))
    root.resize("file", MIB)
    equal(size(root, "file"), MIB)
    # After a restart, the last size that was set is known.
    env.restart()
    equal([size(root, name) for name in ("anonymous", "memfd", "file")], [4096, 4096, MIB])


def test_sizes_that_cannot_be_are_named(env):
    env.start()
    root = env.client(0)
    root.create("r", MIB)
    refuses("InvalidSize", root.resize, "r", 0, contains="0 bytes")
    refuses("InvalidSize", root.resize, "r", GRANULE + 1, contains=(str(GRANULE + 1), str(GRANULE), "window"))
    refuses("NoSuchRegion", root.resize, "other", MIB)
    refuses("InvalidArgs", root.resize, "r", MIB, linger=5, contains=("linger", "force", "populate"))
    root.create("empty", MIB, backing="empty")
    refuses("NotSupported", root.resize, "empty", 2 * MIB, contains=("'empty'", "anonymous"))
    root.create("file", MIB, backing="file", fd=root.do("open", file=file_of_zeroes(env, "zeroes", 2 * MIB)))
    refuses("NotSupported", root.resize, "file", 2 * MIB, contains=("'file'", "shrink", str(2 * MIB)))
    make_by_hand(env, "adopted", 50 << 40)
    wait_until(lambda: "adopted" in root.list(), what="the adoption")
    refuses("NotSupported", root.resize, "adopted", MIB, contains="'unknown'")
    equal([size(root, name) for name in ("r", "empty", "file", "adopted")], [MIB, MIB, MIB, GRANULE])


def test_a_maximum_makes_room_to_grow(env):
    env.start()
    root = env.client(0)
    length = root.create("r", MIB, maximum=GRANULE + 1)[2]
    equal((length, size(root, "r")), (2 * GRANULE, MIB))
    root.resize("r", 2 * GRANULE)
    equal(size(root, "r"), 2 * GRANULE)
    refuses("InvalidSize", root.resize, "r", 2 * GRANULE + 1, contains=str(2 * GRANULE))
    refuses("InvalidArgs", root.create, "less", MIB, maximum=MIB - 1, contains=(str(MIB - 1), str(MIB)))
    refuses("InvalidArgs", root.create, "empty", MIB, backing="empty", maximum=MIB, contains=("maximum", "'empty'"))
    refuses("InvalidSize", root.create, "huge", MIB, maximum=1 << 60, contains=str(1 << 60))


def test_clients_keep_what_they_use(env):
    env.start()
    root = env.client(0)
    root.create("r", 8 * MIB, 0o666)
    lease = env.client(MAIL).acquire("r")
    assert lease
    refuses("RegionBusy", root.resize, "r", MIB, contains=("1 client;", "force", "SIGBUS"))
    # More memory counts for all.
    root.resize("r", 9 * MIB)
    root.resize("r", MIB, force=True)
    equal(size(root, "r"), MIB)
    root.create("s", 8 * MIB)
    env.usage("s", 3)
    refuses("RegionBusy", root.resize, "s", MIB, contains="3 processes")
    equal(size(root, "s"), 8 * MIB)


def test_who_may_resize(env):
    env.start_polkit()
    env.start()
    root, owner, other = env.client(0), env.client(GAMES), env.client(MAIL)
    root.create("r", 8 * MIB, 0o600, uid=GAMES, gid=GAMES, maximum=2 * GRANULE)
    refuses("AccessDenied", owner.resize, "r", 9 * MIB)
    owner.resize("r", 4 * MIB)
    refuses("AccessDenied", other.resize, "r", MIB)
    # A caller that may not attach does not learn the window.
    error = refuses("AccessDenied", other.resize, "r", 3 * GRANULE)
    assert str(2 * GRANULE) not in error.message, error.message
    equal(size(root, "r"), 4 * MIB)
    env.allow("org.mshare1.resize-region")
    other.resize("r", 5 * MIB)
    owner.resize("r", 6 * MIB)
    equal(size(root, "r"), 6 * MIB)


def test_what_is_added_is_charged(env):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nBytesPerUserMax=8M\nPendingCallsPerUserMax=2\n")
    env.start_polkit()
    env.allow("org.mshare1.create-region", "org.mshare1.resize-region")
    env.start()
    root, c = env.client(0), env.client(GAMES)
    equal(root.get("/org/mshare1", MANAGER_IFACE, "BytesPerUserMax"), 8 * MIB)
    c.create("a", 2 * MIB)
    refuses("LimitExceeded", c.resize, "a", 8 * MIB + 1, contains=(str(6 * MIB + 1), str(8 * MIB), str(2 * MIB), "BytesPerUserMax"))
    c.resize("a", 8 * MIB)
    refuses("LimitExceeded", c.create, "b", 4096, contains="BytesPerUserMax")
    # Memory that has not been given back yet counts. Memory that should have been added, but was not, does not.
    put(env, "hold")
    c.send("call", path="/org/mshare1", interface="org.mshare1.Manager", member="ResizeRegion", signature="sta{sv}",
           args=["a", MIB, {}])
    d = env.client(GAMES)
    wait_until(lambda: size(root, "a") == MIB, what="the smaller size")
    refuses("LimitExceeded", d.create, "b", 4096, contains="BytesPerUserMax")
    take(env, "hold")
    c.receive()
    d.create("b", 7 * MIB)
    d.remove("b")
    put(env, "refuse", "12")
    refuses("NoMemory", c.resize, "a", 8 * MIB, contains=("attach", str(8 * MIB)))
    take(env, "refuse")
    equal((size(root, "a"), sizes(env, "a")), (MIB, (MIB, 0)))
    d.create("b", 7 * MIB)
    # The limit does not apply to root, but what root adds counts.
    root.resize("a", 4 * MIB)
    refuses("LimitExceeded", c.resize, "a", 5 * MIB, contains=str(11 * MIB))
    env.restart()
    refuses("LimitExceeded", c.resize, "a", 5 * MIB, contains=str(11 * MIB))


def test_one_change_at_a_time(env):
    env.start()
    root, other = env.client(0), env.client(0)
    root.create("r", MIB)
    put(env, "hold")
    root.send("call", path="/org/mshare1", interface="org.mshare1.Manager", member="ResizeRegion", signature="sta{sv}",
              args=["r", 2 * MIB, {}])
    wait_until(lambda: sizes(env, "r") == (MIB, 2 * MIB), what="the change to begin")
    refuses("RegionBusy", other.resize, "r", 3 * MIB, contains="being resized")
    refuses("RegionBusy", other.remove, "r", contains=("being resized", "force"))
    # The region can still be used.
    other.acquire("r")
    other.manager("SetRegionMode", "su", "r", 0o640)
    equal(sizes(env, "r"), (MIB, 2 * MIB))
    other.remove("r", force=True)
    refuses("NoSuchRegion", root.receive, contains="removed while it was being resized")
    take(env, "hold")
    other.create("r", MIB)
    other.resize("r", 2 * MIB)


def test_a_killed_broker_leaves_the_smaller_size(env):
    env.start()
    root = env.client(0)
    put(env, "attached")
    for sig in (signal.SIGKILL, signal.SIGTERM):
        for name, before, after in (("grow", 2 * MIB, 8 * MIB), ("shrink", 8 * MIB, 2 * MIB)):
            root.create(name, before)
            put(env, "hold")
            root.send("call", path="/org/mshare1", interface="org.mshare1.Manager", member="ResizeRegion",
                      signature="sta{sv}", args=[name, after, {}])
            wait_until(lambda n=name: sizes(env, n) == (2 * MIB, 8 * MIB), what="the change to begin")
            env.stop(sig)
            refuses("NoReply", root.receive)
            equal(sizes(env, name), (2 * MIB, 8 * MIB))
            env.start()
            # The rest of the killed change does not count as done until it has been unmapped.
            refuses("RegionBusy", root.resize, name, 3 * MIB)
            before_trim = attached(env)
            take(env, "hold")
            wait_until(lambda n=name: sizes(env, n) == (2 * MIB, 0), what="the end to be unmapped")
            assert attached(env) > before_trim
            equal(size(root, name), 2 * MIB)
            root.resize(name, 3 * MIB)
            root.remove(name)


def test_a_failure_leaves_the_size(env):
    env.start()
    root = env.client(0)
    address = root.create("r", MIB)[1]
    # A sharer has mapped something after the end.
    put(env, "maps/r", "%x-%x rw-s 00000000 00:01 7 /dev/zero (deleted)\n" % (address + 4 * MIB, address + 5 * MIB))
    refuses("RegionBusy", root.resize, "r", 8 * MIB, contains=(str(4 * MIB), "msharectl maps"))
    equal((size(root, "r"), sizes(env, "r")), (MIB, (MIB, 0)))
    root.resize("r", 4 * MIB)
    # Nothing was unmapped yet. And not enough memory: what was mapped for it is unmapped again.
    put(env, "attached")
    put(env, "available", "1000")
    take(env, "maps/r")
    put(env, "refuse-attach", "12")
    refuses("NoMemory", root.resize, "r", MIB, contains="attach")
    equal((attached(env), size(root, "r"), sizes(env, "r")), (0, 4 * MIB, (4 * MIB, 0)))
    take(env, "refuse-attach")
    refuses("NoMemory", root.resize, "r", 8 * MIB, populate=True, contains=("the donor cannot find enough memory to populate: ", str(8 * MIB)))
    equal((attached(env), size(root, "r"), sizes(env, "r")), (2, 4 * MIB, (4 * MIB, 0)))
    take(env, "available")
    root.resize("r", 8 * MIB, populate=True)
    # Memory that others have mapped at the end is unmapped together with it.
    put(env, "maps/r", "%x-%x rw-s 00000000 00:01 7 /dev/zero (deleted)\n" % (address, address + 8 * MIB))
    root.resize("r", MIB)
    equal(size(root, "r"), MIB)


def test_added_memory_has_the_policies_of_the_region(env):
    env.start()
    root = env.client(0)
    put(env, "nodes", "0-1,3")
    for name, backing, hugepages, advice, numa in (("a", "anonymous", "never", "nohuge", "interleave"),
                                                   ("b", "memfd", "advise", "huge", "bind:0-1,3")):
        address = root.create(name, MIB, backing=backing, hugepages=hugepages, numa=numa)[1]
        for old, new in ((MIB, 4 * MIB), (4 * MIB, 8 * MIB)):
            put(env, "policy")
            put(env, "advised")
            root.resize(name, new, populate=True)
            equal(get(env, "policy"), "%#x %d %s" % (address + old, new - old, numa))
            equal(get(env, "advised"), "%#x %d %s\n" % (address + old, new - old, advice))
            env.restart()


if __name__ == "__main__":
    sys.exit(main(globals()))
