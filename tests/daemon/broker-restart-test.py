#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a broker finds when it starts: state, leases, and what has changed in msharefs meanwhile. See promises.py for the arguments."""

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, GRANULE, LP, MAIL, MAN, NEWS, BusError, TiB, as_user, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, SLOW, equal, main, make_by_hand, refuses  # noqa: E402


def test_a_restart_loses_nothing(env):
    env.start()
    root = env.client(0)
    root.create("a", 5 << 20, 0o640, uid=GAMES, gid=MAN, label="with \\ and ü", lifetime="while-leased", linger=10**9)
    root.create("b", 3 * GRANULE, 0o666, address=46 * TiB)
    c = env.client(GAMES, GAMES)
    child_of = env.client(MAIL)
    c.acquire("a", "rw")
    c.acquire("b", "r")
    child_of.acquire("b", "rw")
    child = child_of.do("fork_hold")
    before = (root.list(), sorted(root.manager("ListClients", "s", "b")),
              {n: root.do("call", path="/org/mshare1/region/" + n, interface="org.freedesktop.DBus.Properties",
                          member="GetAll", signature="s", args=[REGION_IFACE]) for n in "ab"})
    for sig in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        env.restart(sig)
        after = (root.list(), sorted(root.manager("ListClients", "s", "b")),
                 {n: root.do("call", path="/org/mshare1/region/" + n, interface="org.freedesktop.DBus.Properties",
                             member="GetAll", signature="s", args=[REGION_IFACE]) for n in "ab"})
        equal(after, before)
    # If a client leaves while the broker is down, that is noticed at the next start.
    env.stop(signal.SIGKILL)
    c.kill()
    env.start()
    wait_until(lambda: root.list()["b"]["clients"] == 1 and root.list()["a"]["clients"] == 0)
    child_of.do("close", fd=1)
    child_of.do("disconnect")
    time.sleep(0.3)
    equal(root.list()["b"]["clients"], 1)
    child_of.do("kill_child", pid=child)
    wait_until(lambda: root.list()["b"]["clients"] == 0)


# It contains the addresses of all regions.
def test_the_state_is_the_brokers_alone(env):
    before = os.umask(0)
    env.start()
    os.umask(before)
    root = env.client(0)
    root.create("r", mode=0o666)
    root.acquire("r")
    modes = {name: os.stat(os.path.join(env.runtime, name)).st_mode & 0o777 for name in
             ("regions", "leases", "regions/r", "leases/" + env.leases()[0])}
    equal(sorted(modes.values()), [0o600, 0o600, 0o700, 0o700])
    equal((modes["regions"], modes["leases"]), (0o700, 0o700))
    assert "ADDRESS=" in open(os.path.join(env.runtime, "regions/r"), encoding="utf-8").read()
    for folder in "regions", "leases":
        path = os.path.join(env.runtime, folder)
        for command in ("ls", path), ("cat", os.path.join(path, "r")):
            r = subprocess.run([*as_user(GAMES), *command], capture_output=True, text=True)
            assert r.returncode != 0 and "Permission denied" in r.stderr, r


def test_the_kernel_wins_after_a_restart(env):
    env.start()
    root = env.client(0)
    for name in ("removed", "chmodded", "replaced", "kept"):
        root.create(name, mode=0o600)
    where = root.list()["replaced"]["address"]
    env.stop(signal.SIGKILL)
    os.unlink(env.fs("removed"))
    os.chmod(env.fs("chmodded"), 0o644)
    os.chown(env.fs("chmodded"), GAMES, GAMES)
    with open(env.fs("replaced"), "rb") as f:
        data = f.read()
    with open(env.fs("replaced") + "2", "wb") as f:
        f.write(data)
    os.chmod(env.fs("replaced") + "2", 0o604)
    os.rename(env.fs("replaced") + "2", env.fs("replaced"))
    for name, start in (("foreign", 50 * TiB), ("bad\xff".encode("latin1"), 51 * TiB), ("half", 52 * TiB)):
        path = env.fs("").encode() + (name if isinstance(name, bytes) else name.encode())
        with open(path, "wb") as f:
            f.write(start.to_bytes(8, "little") + GRANULE.to_bytes(8, "little"))
        os.chmod(path, 0o640)
        os.chown(path, LP, LP)
    # Created by a donor, but not completed.
    os.chmod(env.fs("half"), 0)
    os.chown(env.fs("half"), DAEMON_UID, DAEMON_UID)
    env.start()
    rows = root.list()
    equal(sorted(rows), ["chmodded", "foreign", "kept", "replaced"])
    equal((rows["chmodded"]["mode"], rows["chmodded"]["uid"]), (0o644, GAMES))
    equal((rows["foreign"]["uid"], rows["foreign"]["mode"], rows["foreign"]["address"]), (LP, 0o640, 50 * TiB))
    equal(rows["replaced"]["mode"], 0o604)
    equal(root.get("/org/mshare1/region/foreign", REGION_IFACE, "Backing"), "unknown")
    equal(root.get("/org/mshare1/region/replaced", REGION_IFACE, "Backing"), "unknown")
    equal(where, rows["replaced"]["address"])
    assert os.path.exists(env.fs("").encode() + b"bad\xff"), "a region that cannot be named was destroyed"
    assert not os.path.exists(env.fs("half"))
    # Its window is not given to another region either.
    refuses("AddressInUse", root.create, "x", 4096, address=51 * TiB)


def test_only_what_was_being_made_is_taken_for_it(env):
    env.start()
    root = env.client(0)
    for name in ("mine", "theirs"):
        root.create(name, mode=0o640, uid=GAMES, label="mine")
    env.stop(signal.SIGKILL)
    # As if the broker had been killed before the last save.
    for name in ("mine", "theirs"):
        path = os.path.join(env.runtime, "regions", name)
        with open(path) as f:
            lines = f.read().splitlines()
        lines = ["READY=0" if line.startswith("READY=") else "INODE=0" if line.startswith("INODE=") else line
                 for line in lines]
        with open(path, "w") as f:
            f.write("\n".join(lines) + "\n")
    os.unlink(env.fs("theirs"))
    with open(env.fs("theirs"), "wb") as f:
        f.write((50 * TiB).to_bytes(8, "little") + GRANULE.to_bytes(8, "little"))
    os.chmod(env.fs("theirs"), 0o600)
    env.start()
    equal(root.list()["theirs"]["address"], 50 * TiB)
    for name, want in (("mine", ("mine", "anonymous")), ("theirs", ("", "unknown"))):
        path = "/org/mshare1/region/" + name
        equal((root.get(path, REGION_IFACE, "Label"), root.get(path, REGION_IFACE, "Backing")), want)


def test_what_others_do_in_msharefs_is_seen(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o600)
    os.chmod(env.fs("r"), 0o666)
    equal(root.list()["r"]["mode"], 0o666)
    make_by_hand(env, "made-by-hand", 50 * TiB)
    wait_until(lambda: "made-by-hand" in root.list(), what="the adoption")
    made = "/org/mshare1/region/made_2dby_2dhand"
    equal((root.get(made, REGION_IFACE, "State"), root.get(made, REGION_IFACE, "Progress")), ("ready", 1.0))
    c = env.client(MAIL)
    c.acquire("r")
    os.unlink(env.fs("r"))
    wait_until(lambda: "r" not in root.list())
    refuses("NoSuchRegion", c.acquire, "r")


def test_damaged_state_is_dropped_and_the_region_kept(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o644, uid=GAMES)
    root.create("s", mode=0o600)
    env.stop()
    with open(os.path.join(env.runtime, "regions/r"), "w") as f:
        f.write("VERSION=1\nNAME=../../etc/passwd\n\\x00")
    for name in ("x" * 200, "0,0,0,0,rw,0,,", "0" * 16 + "," + "1" * 16 + ",1,1,rw,1,,u"):
        os.mkfifo(os.path.join(env.runtime, "leases", name))
    with open(os.path.join(env.runtime, "regions/.#new"), "w") as f:
        f.write("half")
    env.start()
    rows = root.list()
    equal(sorted(rows), ["r", "s"])
    equal((rows["r"]["uid"], rows["r"]["mode"]), (GAMES, 0o644))
    equal(env.leases(), [])


def test_of_damaged_state_is_kept_what_can_be_read(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    path = root.create("r", mode=0o666, lifetime="while-leased", linger=10**7, label="mine")[0]
    root.create("s", mode=0o666)
    c.acquire("r")
    c.acquire("s")
    state = os.path.join(env.runtime, "regions/r")

    def damage(change):
        env.stop()
        with open(state) as f:
            text = f.read()
        with open(state, "w") as f:
            f.write(change(text))
        env.start()
        return env.client(0)

    def without(text, *keys):
        return "".join(line for line in text.splitlines(True) if not line.startswith(tuple(k + "=" for k in keys)))

    # The state file of a later version, with one invalid value, without the id, and empty. What is left of it is used,
    # and the lease is kept in any case.
    for change, label, creator in ((lambda t: t.replace("VERSION=1", "VERSION=2"), "mine", 0),
                                   (lambda t: t.replace("MODE=666", "MODE=often"), "mine", 0),
                                   (lambda t: without(t, "ID"), "mine", 0),
                                   (lambda t: without(t, "CREATOR", "SIZE"), "mine", 2**32 - 1),
                                   (lambda t: "\x00\x01", "", 2**32 - 1)):
        root = damage(change)
        row = root.list()
        equal((sorted(row), row["r"]["clients"], row["s"]["clients"], row["r"]["mode"]), (["r", "s"], 1, 1, 0o666))
        equal((root.get(path, REGION_IFACE, "Label"), root.get(path, REGION_IFACE, "Creator")), (label, creator))
        equal(root.get(path, REGION_IFACE, "Lifetime"), "while-leased" if label else "persistent")
    equal(env.read_log().count("Cannot use all of the state file of region r"), 4)
    # If two regions have lost their ids, the broker cannot assign the leases, and keeps them.
    env.stop()
    for name in ("r", "s"):
        with open(os.path.join(env.runtime, "regions", name), "w") as f:
            f.write("")
    env.start()
    equal(len(env.leases()), 2)
    assert "Ignoring a lease of user %d: its region is unknown" % GAMES in env.read_log(), env.read_log()
    c.kill()
    env.restart()
    equal((len(env.leases()), sorted(env.client(0).list())), (0, ["r", "s"]))


def test_state_of_a_later_version_is_state(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666, label="mine")
    c.acquire("r")
    env.stop()
    with open(os.path.join(env.runtime, "regions/r"), "a") as f:
        f.write("FLAVOUR=vanilla\n")
    env.start()
    equal((root.list()["r"]["clients"], root.get("/org/mshare1/region/r", REGION_IFACE, "Label")), (1, "mine"))
    c.kill()
    wait_until(lambda: root.list()["r"]["clients"] == 0, what="the lease to be dropped")


def test_what_cannot_be_looked_at_is_left_for_later(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666, address=44 * TiB, label="mine")
    root.create("s", mode=0o666)
    c.acquire("r")
    c.acquire("s")
    env.stop()
    state = os.path.join(env.runtime, "regions/r")
    with open(env.fs("r"), "rb") as f, open(state) as g:
        inode, written = f.read(), g.read()
    os.truncate(env.fs("r"), 0)
    with open(env.fs("unknown"), "wb"):
        pass
    for _ in range(2):
        env.start()
        assert "Cannot read region r, keeping its state for the next start" in env.read_log()
        assert "Cannot read region unknown in msharefs" in env.read_log()
        equal((sorted(root.list()), len(env.leases())), (["s"], 2))
        # Its name and its window are not given to another region, and changes in msharefs do not bring it back.
        refuses("RegionExists", root.create, "r", contains="see its log")
        refuses("AddressInUse", root.create, "t", address=44 * TiB)
        os.chmod(env.fs("s"), 0o660)
        time.sleep(0.2)
        equal(sorted(root.list()), ["s"])
        with open(state) as g:
            equal(g.read(), written)
        env.stop(signal.SIGKILL)
    with open(env.fs("r"), "r+b") as f:
        f.write(inode)
    env.start()
    equal(sorted(root.list()), ["r", "s"])
    equal(root.list()["r"]["clients"], 1)
    equal(root.get("/org/mshare1/region/r", REGION_IFACE, "Label"), "mine")
    c.kill()
    wait_until(lambda: root.list()["r"]["clients"] == 0, what="the lease to be dropped")
    equal(env.leases(), [])


def test_the_books_are_right_after_kills_while_clients_come_and_go(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666)
    clients = [env.client(uid) for uid in (GAMES, MAIL, NEWS, LP)]
    held = []
    for i in range(3 if SLOW else 12):
        for c in clients:
            c.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="AcquireRegion", signature="ssa{sv}",
                   args=["r", "rw", {}])
        time.sleep(0.002 * (i % 5))
        env.stop(signal.SIGKILL)
        for c in clients:
            try:
                held.append((c, c.receive()[2]))
            except BusError:
                pass
        while len(held) > 8:
            c, fd = held.pop(0)
            c.do("close", fd=fd)
        env.start()
        wait_until(lambda: root.list()["r"]["clients"] == len(held), what="the count to be %d" % len(held))
        equal(len(env.leases()), len(held))


def test_the_end_of_the_bus_is_survived(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666)
    c = env.client(GAMES)
    c.acquire("r")
    env.stop_bus()
    env.start_bus()
    root = env.client(0)
    equal(root.list()["r"]["clients"], 1)
    c.kill()
    wait_until(lambda: root.list()["r"]["clients"] == 0)


def test_a_name_of_an_earlier_bus_has_no_leases(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666)
    # Names are numbers. This number is far from the first, so that a connection of the next bus can get it even if a
    # slow start of the broker uses up some.
    for _ in range(500):
        c.do("unique_name")
        c.do("disconnect")
    name = c.do("unique_name")
    c.acquire("r")
    env.stop_bus()
    env.start_bus()
    equal(env.client(0).list()["r"]["clients"], 1)
    assert not [f for f in env.leases() if name in f.split(",")], env.leases()
    env.restart()
    # A client of the same user gets that name.
    other = env.client(GAMES)
    while other.do("unique_name") != name:
        assert int(other.do("unique_name").split(".")[1]) < int(name.split(".")[1]), "the name is taken"
        other.do("disconnect")
    other.manager("ReleaseRegion", "s", "r")
    equal(env.client(0).list()["r"]["clients"], 1)
    c.kill()
    wait_until(lambda: env.client(0).list()["r"]["clients"] == 0, what="the lease to be dropped")
    equal(env.leases(), [])


if __name__ == "__main__":
    sys.exit(main(globals()))
