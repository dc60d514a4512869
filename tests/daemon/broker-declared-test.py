#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Declared regions: region files, and the commands that mshare-region@.service runs. See promises.py for the arguments."""

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, GRANULE, LP, MAIL, MAN, NEWS, TiB, wait_until  # noqa: E402
from promises import (MANAGER_IFACE, REGION_IFACE, declare, equal, file_of_zeroes, main, refuses,  # noqa: E402
                      start_unit, unit)


def test_a_declared_region_is_made_changed_and_removed(env):
    env.start()
    root = env.client(0)
    file = os.path.join(env.regions_dir, "pgdata.conf")

    def write(text):
        with open(file, "w") as f:
            f.write(text)

    write("# a comment\n[Region]\nSize=8M\nMode=0660\nUser=games\nGroup=%d\nBacking=anonymous\nPopulate=yes\n" % MAN)
    r = unit(env, "start", "pgdata")
    assert r.returncode == 0, r.stderr
    row = root.list()["pgdata"]
    equal((row["uid"], row["gid"], row["mode"]), (GAMES, MAN, 0o660))
    equal(root.get(row["path"], REGION_IFACE, "Size"), 8 << 20)
    # Start it again, as after a crash of the service manager: the region exists, and the start succeeds.
    equal(unit(env, "start", "pgdata").returncode, 0)
    write("[Region]\nSize=8M\nMode=0600\nUser=mail\n")
    equal(unit(env, "reload", "pgdata").returncode, 0)
    row = root.list()["pgdata"]
    equal((row["uid"], row["gid"], row["mode"]), (MAIL, MAIL, 0o600))
    write("[Region]\nSize=16M\nMode=0600\nUser=mail\n")
    r = unit(env, "start", "pgdata")
    assert r.returncode == 1 and "8388608" in r.stderr and "16777216" in r.stderr, r.stderr
    c = env.client(MAIL)
    c.acquire("pgdata")
    r = unit(env, "stop", "pgdata")
    assert r.returncode == 0 and "by force" in r.stderr, r.stderr
    equal(root.list(), {})
    equal(unit(env, "stop", "pgdata").returncode, 0)


def test_a_reload_resizes_and_names_what_it_ignores(env):
    env.start()
    root = env.client(0)
    path = "/org/mshare1/region/r"

    def size():
        return root.get(path, REGION_IFACE, "Size")

    declare(env, "less", "Size=8M\nMaximumSize=4M\n")
    r = unit(env, "start", "less")
    assert r.returncode == 1 and "MaximumSize= is less than Size=" in r.stderr, r.stderr
    declare(env, "r", "Size=8M\nMaximumSize=2G\nLabel=mine\n")
    equal(unit(env, "start", "r").returncode, 0)
    equal(root.list()["r"]["length"], 2 * GRANULE)
    # Nothing has changed, so nothing is printed.
    r = unit(env, "reload", "r")
    equal((r.returncode, r.stderr), (0, ""))
    # Nor for what the broker does not show, or for a maximum that fits.
    declare(env, "r", "Size=8M\nMaximumSize=1G\nLabel=mine\nPopulate=yes\nHugePages=never\n")
    r = unit(env, "reload", "r")
    equal((r.returncode, r.stderr, root.list()["r"]["length"]), (0, "", 2 * GRANULE))
    declare(env, "r", "Size=16M\nMaximumSize=2G\nLabel=mine\nPopulate=yes\n")
    r = unit(env, "reload", "r")
    equal((r.returncode, r.stderr), (0, "Region r has 16777216 bytes now; it had 8388608.\n"))
    equal(size(), 16 << 20)
    # It does not shrink while it is in use; mode and owner are as declared in any case.
    root.manager("SetRegionMode", "su", "r", 0o666)
    lease = env.client(MAIL).acquire("r")
    assert lease
    declare(env, "r", "Size=1M\nMaximumSize=2G\nLabel=mine\nMode=0640\n")
    r = unit(env, "reload", "r")
    assert r.returncode == 1 and "1 client;" in r.stderr and "force" in r.stderr, r.stderr
    equal((size(), root.list()["r"]["mode"]), (16 << 20, 0o640))
    declare(env, "r", "Size=2048G\nMaximumSize=2048G\n")
    r = unit(env, "reload", "r")
    assert r.returncode == 1 and str(2 * GRANULE) in r.stderr, r.stderr
    declare(env, "r", "Size=16M\nMaximumSize=2T\nBacking=memfd\nNUMA=interleave\nLifetime=while-leased\nLingerSec=5\n"
            "Address=0x400000000000\nLabel=yours\n")
    r = unit(env, "reload", "r")
    equal(r.returncode, 0)
    said = r.stderr.splitlines()
    equal([line.split("=")[0] for line in said],
          ["Backing", "NUMA", "Lifetime", "Label", "LingerSec", "Address", "MaximumSize"])
    equal(said[1], "NUMA=interleave is ignored: region r has 'default', and only a restart of its unit changes that.")
    equal((size(), root.get(path, REGION_IFACE, "Backing")), (16 << 20, "anonymous"))


class HeldDonor:
    """While this is in force, no creation is completed: the donor waits when it has made the name, and is then stopped."""

    def __init__(self, env):
        self.env = env
        self.hold = os.path.join(env.kernel, "hold-create")
        open(self.hold, "w").close()

    def stop(self, root, name):
        wait_until(lambda: os.path.exists(self.env.fs(name)), what="the name")
        self.pid = int(subprocess.run(["pgrep", "-P", str(self.env.daemon.pid)], capture_output=True, text=True).stdout)
        os.kill(self.pid, signal.SIGSTOP)
        os.unlink(self.hold)
        equal(root.list()[name]["state"], "creating")

    def let_go(self):
        os.kill(self.pid, signal.SIGCONT)


def start_that_is_held(env, root):
    """The start of a unit for region "r", whose donor is stopped."""
    donor = HeldDonor(env)
    helper = start_unit(env, "r")
    donor.stop(root, "r")
    return helper


def test_a_start_that_is_stopped_leaves_nothing(env):
    env.start()
    root = env.client(0)
    declare(env, "r")
    for sig in (signal.SIGTERM, signal.SIGINT):
        helper = start_that_is_held(env, root)
        helper.send_signal(sig)
        said = helper.communicate(timeout=20)[1]
        assert helper.returncode == 1 and "region r was not created" in said, (helper.returncode, said)
        equal((root.list(), env.states(), os.listdir(env.kernel + "/fs")), ({}, [], []))
    # Whenever the start is stopped: the region exists if and only if the start has succeeded.
    declare(env, "s")
    for i in range(20):
        helper = start_unit(env, "s")
        time.sleep(0.004 * i)
        helper.send_signal(signal.SIGTERM)
        said = helper.communicate(timeout=20)[1]
        equal(("s" in root.list(), said), (helper.returncode == 0, said))
        assert helper.returncode in (0, 1, -signal.SIGTERM), helper.returncode
        equal(unit(env, "stop", "s").returncode, 0)


def test_a_start_that_is_stopped_takes_nothing_of_others_along(env):
    env.start()
    root, maker = env.client(0), env.client(0)
    declare(env, "r")
    donor = HeldDonor(env)
    maker.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
               args=["r", 8 << 20, 0o600, {"populate": True}])
    donor.stop(root, "r")
    helper = start_unit(env, "r")
    time.sleep(0.5)
    assert helper.poll() is None, helper.communicate()
    helper.send_signal(signal.SIGTERM)
    helper.communicate(timeout=20)
    equal((helper.returncode, root.list()["r"]["state"]), (1, "creating"))
    # The broker is stopped as well, so the start ends before it learns that the name is in use.
    for i in range(5):
        os.kill(env.daemon.pid, signal.SIGSTOP)
        helper = start_unit(env, "r")
        time.sleep(0.3)
        helper.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        os.kill(env.daemon.pid, signal.SIGCONT)
        helper.communicate(timeout=20)
        equal((helper.returncode, root.list()["r"]["state"]), (1, "creating"))
    donor.let_go()
    maker.receive()
    equal(root.list()["r"]["state"], "ready")


def test_a_start_waits_for_a_region_that_is_being_made_already(env):
    env.start()
    root, maker = env.client(0), env.client(0)
    call = {"path": "/org/mshare1", "interface": MANAGER_IFACE, "member": "CreateRegion", "signature": "stua{sv}",
            "args": ["r", 8 << 20, 0o600, {"populate": True}]}
    declare(env, "r")
    donor = HeldDonor(env)
    maker.send("call", **call)
    donor.stop(root, "r")
    helper = start_unit(env, "r")
    time.sleep(0.5)
    assert helper.poll() is None, helper.communicate()
    donor.let_go()
    maker.receive()
    said = helper.communicate(timeout=20)[1]
    assert helper.returncode == 0 and "is taken over for user %d" % GAMES in said, (helper.returncode, said)
    row = root.list()["r"]
    equal((row["uid"], row["mode"]), (GAMES, 0o640))
    root.remove("r")
    # If that creation fails, the unit creates its own region.
    donor = HeldDonor(env)
    maker.send("call", **call)
    donor.stop(root, "r")
    helper = start_unit(env, "r")
    time.sleep(0.5)
    root.remove("r")
    refuses("NoSuchRegion", maker.receive)
    said = helper.communicate(timeout=20)[1]
    equal((helper.returncode, said), (0, ""))
    row = root.list()["r"]
    equal((row["uid"], row["mode"], row["state"]), (GAMES, 0o640, "ready"))


def test_a_restart_of_the_broker_does_not_fail_a_start(env):
    env.start()
    root = env.client(0)
    declare(env, "r")
    for sig in (signal.SIGKILL, signal.SIGTERM):
        helper = start_that_is_held(env, root)
        env.stop(sig)
        time.sleep(0.5)
        env.start()
        said = helper.communicate(timeout=20)[1]
        equal((helper.returncode, said), (0, ""))
        row = root.list()["r"]
        equal((row["uid"], row["mode"], row["state"]), (GAMES, 0o640, "ready"))
        equal(unit(env, "stop", "r").returncode, 0)
    # A region that is removed stays removed: the start fails.
    helper = start_that_is_held(env, root)
    root.remove("r")
    said = helper.communicate(timeout=20)[1]
    assert helper.returncode == 1 and "while it was being created" in said, said
    equal(root.list(), {})


def test_a_stop_does_not_pass_over_a_region_that_the_broker_cannot_see(env):
    env.start()
    declare(env, "r")
    equal(unit(env, "start", "r").returncode, 0)
    env.stop()
    os.rename(env.kernel + "/fs", env.kernel + "/later")
    env.start()
    r = unit(env, "stop", "r")
    assert r.returncode == 1 and "sys-fs-mshare.mount" in r.stderr, r.stderr
    # Mounted too late: the region exists, but the broker does not know it yet.
    os.rename(env.kernel + "/later", env.kernel + "/fs")
    r = unit(env, "stop", "r")
    assert r.returncode == 1 and "then restart mshared" in r.stderr, r.stderr
    env.restart()
    equal(unit(env, "stop", "r").returncode, 0)
    equal(os.listdir(env.kernel + "/fs"), [])
    # On a kernel without mshare there is no region.
    open(env.kernel + "/unsupported", "w").close()
    env.restart()
    equal(unit(env, "stop", "r").returncode, 0)


def test_every_key_of_a_region_file_does_what_it_says(env):
    env.start()
    root = env.client(0)
    backing = file_of_zeroes(env, "backing", 1 << 20)

    def start(name, text):
        with open(os.path.join(env.regions_dir, name + ".conf"), "w") as f:
            f.write("[Region]\n" + text)
        r = unit(env, "start", name)
        assert r.returncode == 0, r.stderr
        path = "/org/mshare1/region/" + name
        return root.do("call", path=path, interface="org.freedesktop.DBus.Properties", member="GetAll", signature="s",
                       args=[REGION_IFACE])

    p = start("plain", "Size=4K\n")
    equal({k: p[k] for k in ("Size", "Mode", "UID", "GID", "Backing", "Lifetime", "LingerUSec", "Label", "Length")},
          {"Size": 4096, "Mode": 0o600, "UID": 0, "GID": 0, "Backing": "anonymous", "Lifetime": "persistent",
           "LingerUSec": 0, "Label": "", "Length": GRANULE})
    p = start("all", "Size=2G\nMode=0751\nUser=%d\nGroup=mail\nBacking=memfd\nHugePages=never\nPopulate=no\n"
                     "NUMA=bind:0\nLifetime=while-leased\nLingerSec=2min\nAddress=0x%x\nLabel=some text\n" % (LP, 44 * TiB))
    equal({k: p[k] for k in ("Size", "Mode", "UID", "GID", "Backing", "NUMA", "Lifetime", "LingerUSec", "Label", "Address")},
          {"Size": 2 << 30, "Mode": 0o751, "UID": LP, "GID": MAIL, "Backing": "memfd", "NUMA": "bind:0", "Lifetime": "while-leased",
           "LingerUSec": 120 * 10**6, "Label": "some text", "Address": 44 * TiB})
    p = start("file", "Size=1M\nBacking=file\nPath=%s\nPopulate=yes\nAddress=%d\n" % (backing, 45 * TiB))
    equal((p["Backing"], p["Address"]), ("file", 45 * TiB))
    p = start("user", "Size=1M\nUser=news\nBacking=empty\n")
    equal((p["UID"], p["GID"], p["Backing"]), (NEWS, NEWS, "empty"))
    # An invalid file is refused with the broker's reason.
    with open(os.path.join(env.regions_dir, "bad.conf"), "w") as f:
        f.write("[Region]\nSize=1M\nLingerSec=5\n")
    r = unit(env, "start", "bad")
    assert r.returncode == 1 and "while-leased" in r.stderr, r.stderr


def test_a_wrong_declaration_is_refused_by_line(env):
    env.start()
    for text, wants in (("[Region]\nSize=big\n", ":2: Size=big"), ("[Region]\nMode=0660\n", "Size= is missing"),
                        ("[Region]\nSize=1M\nColour=red\n", ":3: unknown key 'Colour'"),
                        ("Size=1M\n", ":1:"), ("[Region]\nSize=1M\nUser=no-such-user\n", "no such user"),
                        ("[Region]\nSize=1M\nMode=999\n", ":3: Mode=999"),
                        ("[Region]\nSize=1M\nNUMA=bind:2-1\n", ":3: NUMA=bind:2-1")):
        with open(os.path.join(env.regions_dir, "r.conf"), "w") as f:
            f.write(text)
        r = unit(env, "start", "r")
        assert r.returncode == 1 and wants in r.stderr, (text, r.stderr)
    r = unit(env, "start", "none")
    assert r.returncode == 1 and "none.conf" in r.stderr
    r = unit(env, "start", "../r")
    assert r.returncode == 1 and "Invalid region name" in r.stderr
    equal(env.client(0).list(), {})


if __name__ == "__main__":
    sys.exit(main(globals()))
