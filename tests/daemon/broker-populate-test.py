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

from harness import DAEMON_UID, GAMES, LP, MAIL, MAN, wait_until  # noqa: E402
from promises import (REGION_IFACE, binary, declare, equal, file_of_zeroes, get_acl, main, refuses,  # noqa: E402
                      set_acl, start_unit, unit)


def children(pid):
    return [int(p) for p in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()]


def populated(env):
    """What processes have populated since: (pid, address, size, access)."""
    with open(os.path.join(env.kernel, "populated")) as f:
        lines = [line.split() for line in f]
    with open(os.path.join(env.kernel, "populated"), "w"):
        pass
    return [(int(pid), int(address, 0), int(size), access) for pid, address, size, access in lines]


def held_back(env, root):
    """The start of a unit for region "r" whose process waits for memory to populate it, and that process."""
    with open(os.path.join(env.kernel, "available"), "w") as f:
        f.write("0")
    helper = start_unit(env, "r")
    # So that it ends with the test if that fails.
    env.clients.append(helper)
    (child,) = wait_until(lambda: children(helper.pid), what="the process that populates")
    os.kill(child, signal.SIGSTOP)
    equal((root.list()["r"]["state"], root.list()["r"]["mode"]), ("ready", 0))
    return helper, child


def there_is_memory(env):
    os.unlink(os.path.join(env.kernel, "available"))


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
    root.create("r", 8 << 20, 0o666, uid=0, gid=0)
    return held_back(env, root)


def owner_and_mode(client):
    return [client.list()["r"][key] for key in ("uid", "gid", "mode")]


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
    wait_until(lambda: owner_and_mode(root) == [0, 0, 0o666], what="the region to be as it was")
    stranger.acquire("r")
    root.manager("SetRegionMode", "su", "r", 0)
    refuses("AccessDenied", member.acquire, "r", "r")


def test_a_region_is_suspended_by_those_who_may_close_it(env):
    env.start_polkit()
    env.start()
    root, owner, stranger = env.client(0), env.client(GAMES), env.client(MAIL)
    root.create("r", 4096, 0o604, uid=GAMES, gid=GAMES)
    for mode, text in ((0, "mode 0:"), (0o1000, "mode 01000:")):
        refuses("InvalidArgs", owner.manager, "SuspendRegion", "su", "r", mode, contains=(text, "0777"))
    refuses("AccessDenied", stranger.manager, "SuspendRegion", "su", "r", 0o604, contains="org.mshare1.set-mode")
    refuses("NoSuchRegion", owner.manager, "SuspendRegion", "su", "gone", 0o600)
    equal(root.list()["r"]["mode"], 0o604)
    owner.manager("SuspendRegion", "su", "r", 0o666)
    refuses("RegionNotReady", stranger.acquire, "r", contains="0666")
    owner.manager("SuspendRegion", "su", "r", 0o600)
    refuses("AccessDenied", stranger.acquire, "r", "r")
    refuses("RegionNotReady", owner.acquire, "r", contains="0600")
    equal((root.list()["r"]["mode"], os.stat(env.fs("r")).st_mode & 0o777), (0, 0))
    # It is no way to a wider mode.
    refuses("AccessDenied", owner.manager, "SetRegionMode", "su", "r", 0o666, contains="org.mshare1.set-mode")
    owner.manager("SetRegionMode", "su", "r", 0o600)
    owner.acquire("r")


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


def test_a_final_mode_is_for_regions_that_are_closed(env):
    env.start()
    root = env.client(0)
    refuses("InvalidArgs", root.create, "r", 4096, 0o600, **{"final-mode": 0o640}, contains=("final-mode", "0600"))
    for mode in (0, 0o1000):
        refuses("InvalidArgs", root.create, "r", 4096, 0, **{"final-mode": mode}, contains="0777")
    root.create("r", 4096, 0, **{"final-mode": 0o666}, uid=GAMES, gid=GAMES)
    stranger = env.client(MAIL)
    refuses("RegionNotReady", stranger.acquire, "r")
    # The mode that is set in the end counts, whichever it is; also if the broker does not set it.
    os.chmod(env.fs("r"), 0o600)
    refuses("AccessDenied", stranger.acquire, "r")
    env.client(GAMES).acquire("r")
    os.chmod(env.fs("r"), 0)
    refuses("AccessDenied", env.client(GAMES).acquire, "r")


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
    assert r.returncode == 1 and "0 of 8388608 bytes done, and the rest is not available" in r.stderr, r.stderr
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


def killed(env, helper, child):
    """The unit's process is killed, and the one that populates with it."""
    helper.kill()
    helper.communicate(timeout=20)
    wait_until(lambda: not os.path.exists("/proc/%d" % child), what="the end of the process that populates")


def in_between(env, when):
    """What happens to the broker between the start of a unit and its death; the second half of that."""
    if when == "broker away":
        env.stop(signal.SIGKILL)
        return env.start
    if when == "broker restarted":
        env.restart(signal.SIGKILL)
    elif when == "bus restarted":
        env.stop_bus()
        env.start_bus()
    return lambda: None


TIMES = ("nothing", "broker restarted", "broker away", "bus restarted")


def test_a_unit_that_is_killed_leaves_no_half_populated_region(env):
    env.start()
    declare(env, "r")
    for when in TIMES:
        helper, child = held_back(env, env.client(0))
        back = in_between(env, when)
        root = env.client(0)
        if when != "broker away" and when != "bus restarted":
            refuses("RegionNotReady", root.acquire, "r")
        killed(env, helper, child)
        back()
        wait_until(lambda: root.list() == {}, what="the region to go: " + when)
        equal((env.states(), os.listdir(env.kernel + "/fs")), ([], []))
        refuses("NoSuchRegion", env.client(GAMES).acquire, "r")
        there_is_memory(env)
        r = unit(env, "start", "r")
        equal((r.returncode, r.stderr, root.list()["r"]["mode"]), (0, "", 0o640))
        root.remove("r")
    assert "Region r removed: the process that should have populated it has left the bus" in env.read_log()
    # Killed while the broker creates the region.
    with open(os.path.join(env.kernel, "hold-create"), "w"):
        pass
    helper = start_unit(env, "r")
    wait_until(lambda: os.path.exists(env.fs("r")), what="the region")
    helper.kill()
    helper.communicate(timeout=20)
    os.unlink(os.path.join(env.kernel, "hold-create"))
    wait_until(lambda: root.list() == {}, what="the region to go")
    equal((env.states(), os.listdir(env.kernel + "/fs")), ([], []))


def test_a_unit_that_is_killed_leaves_what_it_takes_over_as_it_was(env):
    env.start()
    declare(env, "r", "Size=8M\nMode=0660\nUser=games\nGroup=%d\nPopulate=yes\n" % MAN)
    for when in TIMES:
        root = env.client(0)
        root.create("r", 8 << 20, 0o604, uid=0, gid=0)
        inode = os.stat(env.fs("r")).st_ino
        helper, child = held_back(env, root)
        equal(owner_and_mode(root), [GAMES, MAN, 0])
        back = in_between(env, when)
        root = env.client(0)
        if when == "nothing" or when == "broker restarted":
            equal(owner_and_mode(root), [GAMES, MAN, 0])
        killed(env, helper, child)
        back()
        wait_until(lambda: owner_and_mode(root) == [0, 0, 0o604], what="the region to be as it was: " + when)
        equal(os.stat(env.fs("r")).st_ino, inode)
        # It is not wider than it was, and no longer suspended.
        refuses("AccessDenied", env.client(GAMES).acquire, "r")
        env.client(MAIL).acquire("r", "r")
        root.manager("SetRegionMode", "su", "r", 0)
        refuses("AccessDenied", env.client(GAMES).acquire, "r", "r")
        there_is_memory(env)
        root.remove("r", force=True)
    assert "has owner 0:0 and mode 0604 again" in env.read_log()


def test_an_end_of_a_suspension_admits_none_but_those_before_it(env):
    env.start()
    root = env.client(0)
    root.create("r", 4096, 0o600, uid=GAMES, gid=GAMES)
    # The mask makes the group's bits 6, but the group is not admitted.
    set_acl(env.fs("r"), (1, 6, None), (2, 6, MAIL), (4, 0, None), (16, 6, None), (32, 0, None))
    equal(root.list()["r"]["mode"], 0o660)

    def suspend():
        holder = env.client(0)
        holder.manager("SuspendRegion", "su", "r", 0o666)
        equal(root.list()["r"]["mode"], 0)
        return holder

    suspend().kill()
    wait_until(lambda: root.list()["r"]["mode"] == 0o600, what="the mode")
    equal(get_acl(env.fs("r")), None)
    refuses("AccessDenied", env.client(LP, LP, (LP, GAMES)).acquire, "r")
    refuses("AccessDenied", env.client(MAIL).acquire, "r")
    # One process at a time, which may change its mind.
    holder = suspend()
    refuses("RegionNotReady", root.manager, "SuspendRegion", "su", "r", 0o600, contains="another process")
    holder.manager("SuspendRegion", "su", "r", 0o600)
    holder.kill()
    wait_until(lambda: root.list()["r"]["mode"] == 0o600, what="the mode")
    # What others have set meanwhile is left alone: closed, and with another owner.
    holder = suspend()
    root.manager("SetRegionMode", "su", "r", 0)
    env.restart(signal.SIGKILL)
    holder.kill()
    wait_until(lambda: "mode 0000 again" in env.read_log(), what="the end of the holder")
    refuses("AccessDenied", env.client(GAMES).acquire, "r")
    equal(owner_and_mode(root), [GAMES, GAMES, 0])
    for n, change in enumerate((lambda: root.manager("SetRegionOwner", "suu", "r", MAN, MAN),
                                lambda: os.chown(env.fs("r"), MAN, MAN),
                                lambda: (env.stop(signal.SIGKILL), os.chown(env.fs("r"), MAN, MAN), env.start()))):
        root.manager("SetRegionOwner", "suu", "r", GAMES, GAMES)
        root.manager("SetRegionMode", "su", "r", 0o600)
        holder = suspend()
        change()
        equal(owner_and_mode(root), [MAN, MAN, 0])
        holder.kill()
        wait_until(lambda: env.read_log().count("has owner %d:%d and mode 0000 again" % (MAN, MAN)) == n + 1, what="the end")
        equal(owner_and_mode(root), [MAN, MAN, 0])
    # A mode ends it.
    root.manager("SetRegionOwner", "suu", "r", GAMES, GAMES)
    root.manager("SetRegionMode", "su", "r", 0o640)
    holder = suspend()
    holder.manager("SetRegionMode", "su", "r", 0o400)
    holder.kill()
    holder = suspend()
    os.chmod(env.fs("r"), 0o440)
    holder.kill()
    time.sleep(0.2)
    equal(owner_and_mode(root), [GAMES, GAMES, 0o440])


def test_what_cannot_be_written_down_is_not_suspended(env):
    env.start()
    root = env.client(0)
    declare(env, "r")
    root.create("r", 8 << 20, 0o600, uid=0, gid=0)
    regions = os.path.join(env.runtime, "regions")
    os.chown(regions, 0, 0)
    refuses("Failed", root.manager, "SuspendRegion", "su", "r", 0o640, contains=("'r'", "Permission denied"))
    equal(owner_and_mode(root), [0, 0, 0o600])
    r = unit(env, "start", "r")
    assert r.returncode == 1 and "Cannot save the state of region 'r'" in r.stderr, r.stderr
    equal(owner_and_mode(root), [0, 0, 0o600])
    os.chown(regions, DAEMON_UID, DAEMON_UID)
    root.acquire("r")


def test_a_takeover_that_fails_after_its_first_step_gives_the_mode_back(env):
    for program in ("mshared-test", "mshared-older-test"):
        shutil.copy(os.path.join(os.path.dirname(binary()), program), env.binary)
        env.start()
        root = env.client(0)
        declare(env, "r")
        root.create("r", 8 << 20, 0o606, uid=0, gid=0)
        os.makedirs(os.path.join(env.kernel, "late"), exist_ok=True)
        # Noticed by the second look only.
        with open(os.path.join(env.kernel, "late/r"), "w") as f:
            f.write("1 0 0 1")
        logged = len(env.read_log())
        r = unit(env, "start", "r")
        assert r.returncode == 1 and "in use, with 0 clients and 1 process attached" in r.stderr, r.stderr
        wait_until(lambda: owner_and_mode(root) == [0, 0, 0o606], what="the region to be as it was")
        assert "Mode of region r set from 0606 to 0000" in env.read_log()[logged:], env.read_log()
        # The process that populates fails.
        os.unlink(os.path.join(env.kernel, "late/r"))
        with open(os.path.join(env.kernel, "unpopulated"), "w") as f:
            f.write("%d" % errno.EFAULT)
        r = unit(env, "start", "r")
        assert r.returncode == 1 and "cannot populate it, 0 of 8388608 bytes done: Bad address" in r.stderr, r.stderr
        wait_until(lambda: owner_and_mode(root) == [0, 0, 0o606], what="the region to be as it was")
        os.unlink(os.path.join(env.kernel, "unpopulated"))
        # With an access list, the group's bits are its mask.
        set_acl(env.fs("r"), (1, 6, None), (2, 6, MAIL), (4, 0, None), (16, 6, None), (32, 0, None))
        with open(os.path.join(env.kernel, "late/r"), "w") as f:
            f.write("1 0 0 1")
        equal(unit(env, "start", "r").returncode, 1)
        wait_until(lambda: owner_and_mode(root) == [0, 0, 0o600], what="the region to be closed to its group")
        os.unlink(os.path.join(env.kernel, "late/r"))
        root.remove("r")
        env.stop()


if __name__ == "__main__":
    sys.exit(main(globals()))
