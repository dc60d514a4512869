#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The populating of declared regions, which their units do themselves. See promises.py for the arguments."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, LP, MAIL, MAN, BusError, wait_until  # noqa: E402
from promises import (REGION_IFACE, binary, children, declare, equal, file_of_zeroes, get_acl, held_back,  # noqa: E402
                      main, owner_and_mode, refuses, there_is_memory, unit)


def populated(env):
    """What processes have populated since: (pid, address, size, access)."""
    with open(os.path.join(env.kernel, "populated")) as f:
        lines = [line.split() for line in f]
    with open(os.path.join(env.kernel, "populated"), "w"):
        pass
    return [(int(pid), int(address, 0), int(size), access) for pid, address, size, access in lines]


def test_a_unit_populates_its_region_itself(env):
    env.start()
    root = env.client(0)
    open(os.path.join(env.kernel, "populated"), "w").close()
    declare(env, "r", "Size=100M\nMode=0640\nUser=games\nPopulate=yes\nMaximumSize=2G\n")
    helper, child = held_back(env, root)
    # Its owner, too, waits until it is filled.
    refuses("RegionNotReady", env.client(GAMES).acquire, "r", contains=("'r'", "being populated", "0640"))
    equal(children(env.daemon.pid), [])
    there_is_memory(env)
    os.kill(child, signal.SIGCONT)
    said = helper.communicate(timeout=20)[1]
    equal((helper.returncode, said), (0, ""))
    row = root.list()["r"]
    equal((row["uid"], row["mode"], row["clients"]), (GAMES, 0o640, 0))
    equal(populated(env), [(child, row["address"], 64 << 20, "rw"), (child, row["address"] + (64 << 20), 36 << 20, "rw")])
    # A reload populates what it adds, and only that.
    declare(env, "r", "Size=120M\nMode=0640\nUser=games\nPopulate=yes\nMaximumSize=2G\n")
    r = unit(env, "reload", "r")
    equal((r.returncode, r.stderr), (0, "Region r has 125829120 bytes now; it had 104857600.\n"))
    ((_, *rest),) = populated(env)
    equal(rest, [row["address"] + (100 << 20), 20 << 20, "rw"])
    # If it cannot, the region keeps its size, with its clients.
    lease = env.client(GAMES).acquire("r")
    assert lease
    with open(os.path.join(env.kernel, "unpopulated"), "w") as f:
        f.write("%d" % errno.ENOMEM)
    declare(env, "r", "Size=200M\nMode=0640\nUser=games\nPopulate=yes\nMaximumSize=2G\n")
    r = unit(env, "reload", "r")
    assert r.returncode == 1 and "cannot populate it, 0 of 83886080 bytes done" in r.stderr, r.stderr
    equal(root.get("/org/mshare1/region/r", REGION_IFACE, "Size"), 120 << 20)
    os.unlink(os.path.join(env.kernel, "unpopulated"))
    # Memory that can only be read is read.
    declare(env, "f", "Size=1M\nBacking=file\nPath=%s\nPopulate=yes\n" % file_of_zeroes(env, "backing", 1 << 20))
    equal(unit(env, "start", "f").returncode, 0)
    equal([access for _, _, _, access in populated(env)], ["rw"])
    root.remove("f")
    mount = 'mount --make-rprivate / 2>/dev/null; mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" start f'
    r = subprocess.run(["unshare", "-m", "--propagation", "unchanged", "sh", "-c", mount, "sh", os.path.join(env.top, "backing"),
                        env.region_program], env=env.environ(), capture_output=True, text=True)
    equal((r.returncode, r.stderr), (0, ""))
    equal([access for _, _, _, access in populated(env)], ["r"])


def test_a_server_that_starts_while_its_unit_populates_is_told_so(env):
    env.start()
    root = env.client(0)
    declare(env, "r", "Size=8M\nMode=0640\nUser=games\nGroup=%d\nPopulate=yes\n" % MAN)
    helper, child = held_back(env, root)

    def early():
        owner, member, stranger, admin = (env.client(*who) for who in (
            (GAMES,), (LP, LP, (LP, MAN)), (MAIL,), (0,)))
        refuses("RegionNotReady", owner.acquire, "r")
        refuses("RegionNotReady", owner.open, "r")
        refuses("RegionNotReady", owner.region, "/org/mshare1/region/r", "Acquire", "sa{sv}", "rw", {})
        refuses("RegionNotReady", member.acquire, "r", "r")
        refuses("RegionNotReady", admin.acquire, "r")
        # Permission comes first.
        refuses("AccessDenied", member.acquire, "r", "rw")
        refuses("AccessDenied", stranger.acquire, "r", "r")
        equal(stranger.list()["r"]["address"], 0)
        equal((os.stat(env.fs("r")).st_mode & 0o777, env.leases()), (0, []))

    early()
    # To set 0 again, or to restart the broker does not change that.
    root.manager("SetRegionMode", "su", "r", 0)
    early()
    for sig in (signal.SIGKILL, signal.SIGTERM):
        env.restart(sig)
        early()
    # What polkit permits has to wait as well, and the access list stays as it is.
    env.start_polkit()
    env.allow("org.mshare1.acquire-region")
    refuses("RegionNotReady", env.client(MAIL).acquire, "r", "r")
    equal(get_acl(env.fs("r")), None)
    env.allow()
    there_is_memory(env)
    os.kill(child, signal.SIGCONT)
    helper.communicate(timeout=20)
    equal(helper.returncode, 0)
    env.client(LP, LP, (LP, MAN)).acquire("r", "r")
    refuses("AccessDenied", env.client(MAIL).acquire, "r", "r", contains="polkit")
    # A region that is closed later is not one that is being populated.
    root = env.client(0)
    root.manager("SetRegionMode", "su", "r", 0)
    refuses("AccessDenied", env.client(GAMES).acquire, "r")
    root.acquire("r")


def held_back_in_a_takeover(env, root):
    """As held_back(), but the unit finds an open region of root that holds bytes already."""
    root.create("r", 8 << 20, 0o640, uid=0, gid=MAN)
    return held_back(env, root)


def test_a_server_that_starts_while_its_unit_takes_a_region_over_is_told_so(env):
    env.start()
    root, owner, member, stranger = (env.client(*who) for who in ((0,), (GAMES,), (LP, LP, (LP, MAN)), (MAIL,)))
    declare(env, "r", "Size=8M\nMode=0640\nUser=games\nGroup=%d\nPopulate=yes\n" % MAN)

    def early():
        for early_one, access in ((owner, "rw"), (member, "r"), (root, "rw")):
            refuses("RegionNotReady", early_one.acquire, "r", access, contains=("being populated", "0640"))
            refuses("RegionNotReady", early_one.open, "r", access)
        refuses("AccessDenied", member.acquire, "r", "rw")
        refuses("AccessDenied", stranger.acquire, "r", "r")
        equal(stranger.list()["r"]["address"], 0)
        equal((os.stat(env.fs("r")).st_mode & 0o777, env.leases()), (0, []))

    helper, child = held_back_in_a_takeover(env, root)
    early()
    env.restart(signal.SIGKILL)
    root, owner, member, stranger = (env.client(*who) for who in ((0,), (GAMES,), (LP, LP, (LP, MAN)), (MAIL,)))
    early()
    there_is_memory(env)
    os.kill(child, signal.SIGCONT)
    said = helper.communicate(timeout=20)[1]
    assert helper.returncode == 0 and "is taken over for user %d" % GAMES in said, said
    equal(owner_and_mode(root), [GAMES, MAN, 0o640])
    owner.acquire("r")
    refuses("AccessDenied", stranger.acquire, "r", "r")
    owner.kill()
    wait_until(lambda: root.list()["r"]["clients"] == 0, what="the lease to be dropped")
    root.remove("r")
    # If it fails, the region is as it was.
    helper, child = held_back_in_a_takeover(env, root)
    os.kill(child, signal.SIGKILL)
    said = helper.communicate(timeout=20)[1]
    assert helper.returncode == 1 and "was killed, with 0 of 8388608 bytes done" in said, said
    wait_until(lambda: owner_and_mode(root) == [0, MAN, 0o640], what="the region to be as it was")
    member.acquire("r", "r")
    root.manager("SetRegionMode", "su", "r", 0)
    refuses("AccessDenied", member.acquire, "r", "r")


def test_a_unit_works_with_the_broker_of_before_an_upgrade(env):
    shutil.copy(os.path.join(os.path.dirname(binary()), "mshared-older-test"), env.binary)
    env.start()
    root = env.client(0)
    refuses("InvalidArgs", root.create, "r", 8 << 20, 0, **{"final-mode": 0o640}, contains="'final-mode'")
    declare(env, "r")
    helper, child = held_back(env, root)
    refuses("UnknownMethod", root.manager, "SuspendRegion", "su", "r", 0o640)
    refuses("AccessDenied", env.client(GAMES).acquire, "r")
    there_is_memory(env)
    os.kill(child, signal.SIGCONT)
    equal((helper.communicate(timeout=20)[1], helper.returncode), ("", 0))
    equal([root.list()["r"][key] for key in ("uid", "mode")], [GAMES, 0o640])
    env.client(GAMES).acquire("r", "r")
    # What exists is taken over.
    root.remove("r", force=True)
    root.create("r", 8 << 20, 0o600, uid=0, gid=0)
    r = unit(env, "start", "r")
    assert r.returncode == 0 and "is taken over for user %d" % GAMES in r.stderr, r.stderr
    equal([root.list()["r"][key] for key in ("uid", "mode")], [GAMES, 0o640])
    # Another error is reported.
    declare(env, "s", "Size=8M\nMode=0640\nUser=games\nPopulate=yes\nNUMA=bind:63\n")
    r = unit(env, "start", "s")
    assert r.returncode == 1 and "bind:63" in r.stderr, r.stderr


def error_name(f, *args):
    try:
        f(*args)
    except BusError as e:
        return e.name
    return ""


def test_a_broker_that_is_upgraded_learns_of_a_unit_that_populates(env):
    folder = os.path.dirname(binary())
    declare(env, "r")
    for ends_well in (True, False):
        shutil.copy(os.path.join(folder, "mshared-older-test"), env.binary)
        env.start()
        root, server = env.client(0), env.client(GAMES)
        helper, child = held_back(env, root)
        refuses("AccessDenied", server.acquire, "r", "r")
        env.stop()
        shutil.copy(os.path.join(folder, "mshared-test"), env.binary)
        env.start()
        there_is_memory(env)
        wait_until(lambda: "RegionNotReady" in error_name(server.acquire, "r", "r"), what="the suspension")
        if ends_well:
            os.kill(child, signal.SIGCONT)
            equal((helper.communicate(timeout=20)[1], helper.returncode), ("", 0))
        else:
            helper.kill()
            helper.communicate(timeout=20)
            wait_until(lambda: "that was populating region r has left the bus" in env.read_log(), what="the end")
            # No client gets what is half populated. The next start goes on with it.
            equal(root.list()["r"]["mode"], 0)
            refuses("AccessDenied", server.acquire, "r", "r")
            r = unit(env, "start", "r")
            equal(r.returncode, 0)
        equal([root.list()["r"][key] for key in ("uid", "mode")], [GAMES, 0o640])
        root.remove("r", force=True)
        env.stop()


def test_what_cannot_be_populated_leaves_no_region(env):
    env.start()
    root = env.client(0)
    declare(env, "r")
    nothing = ({}, [], [])

    def left():
        return root.list(), env.states(), os.listdir(env.kernel + "/fs")

    with open(os.path.join(env.kernel, "available"), "w") as f:
        f.write("0")
    r = unit(env, "start", "r")
    assert r.returncode == 1 and "not enough memory to populate it: 0 of 8388608 bytes done; see MemAvailable" in r.stderr, r.stderr
    equal(left(), nothing)
    there_is_memory(env)
    for name, text in (("unpopulated", "cannot populate it, 0 of 8388608 bytes done: Bad address"),
                       ("refuse-attach", "cannot attach it to populate it: Bad address")):
        with open(os.path.join(env.kernel, name), "w") as f:
            f.write("%d" % errno.EFAULT)
        r = unit(env, "start", "r")
        assert r.returncode == 1 and text in r.stderr, (name, r.stderr)
        equal(left(), nothing)
        os.unlink(os.path.join(env.kernel, name))
    # The process is killed.
    helper, child = held_back(env, root)
    os.kill(child, signal.SIGKILL)
    said = helper.communicate(timeout=20)[1]
    assert helper.returncode == 1 and "was killed, with 0 of 8388608 bytes done (out of memory?" in said, said
    equal(left(), nothing)
    # The unit is stopped.
    for sig in (signal.SIGTERM, signal.SIGINT):
        helper, child = held_back(env, root)
        helper.send_signal(sig)
        said = helper.communicate(timeout=20)[1]
        assert helper.returncode == 1 and "region r was not created" in said, said
        assert not os.path.exists("/proc/%d" % child)
        equal(left(), nothing)
    # The region is removed.
    helper, child = held_back(env, root)
    root.remove("r")
    said = helper.communicate(timeout=20)[1]
    assert helper.returncode == 1 and "it was removed while it was being populated" in said, said
    assert not os.path.exists("/proc/%d" % child)
    there_is_memory(env)
    declare(env, "r", "Size=8M\nBacking=empty\nPopulate=yes\n")
    r = unit(env, "start", "r")
    assert r.returncode == 1 and "Populate=yes is not possible with Backing=empty" in r.stderr, r.stderr
    equal(left(), nothing)


def test_populating_does_not_need_the_broker(env):
    env.start()
    root = env.client(0)
    open(os.path.join(env.kernel, "populated"), "w").close()
    declare(env, "r")
    for sig in (signal.SIGKILL, signal.SIGTERM):
        helper, child = held_back(env, root)
        env.stop(sig)
        there_is_memory(env)
        os.kill(child, signal.SIGCONT)
        time.sleep(0.5)
        env.start()
        helper.communicate(timeout=20)
        equal(helper.returncode, 0)
        row = root.list()["r"]
        equal((row["uid"], row["mode"], row["state"]), (GAMES, 0o640, "ready"))
        assert sum(size for _, _, size, _ in populated(env)) >= 8 << 20
        equal(unit(env, "stop", "r").returncode, 0)


if __name__ == "__main__":
    sys.exit(main(globals()))
