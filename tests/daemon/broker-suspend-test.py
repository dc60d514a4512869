#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Suspended regions: who may suspend one, and what is left when its holder is killed. See promises.py for the arguments."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, LP, MAIL, MAN, Skip, wait_until  # noqa: E402
from promises import (binary, declare, equal, get_acl, held_back, main, owner_and_mode, refuses,  # noqa: E402
                      set_acl, start_unit, there_is_memory, unit)


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
    assert "Region r removed: the process that was populating it has left the bus" in env.read_log()
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
    declare(env, "r", "Size=8M\nMode=0664\nUser=games\nGroup=%d\nPopulate=yes\n" % MAN)
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
    assert "now has owner 0:0 and mode 0604" in env.read_log()


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
    wait_until(lambda: "now has owner %d:%d and mode 0000" % (GAMES, GAMES) in env.read_log(), what="the end of the holder")
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
        wait_until(lambda: env.read_log().count("now has owner %d:%d and mode 0000" % (MAN, MAN)) == n + 1, what="the end")
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
        declare(env, "r", "Size=8M\nMode=0646\nUser=games\nPopulate=yes\n")
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
        # The owner first. The log has that of the unit, which does it where the broker does not.
        if program == "mshared-older-test":
            said = [line.split(" set ")[0] for line in env.read_log().splitlines() if " of region r set " in line]
            equal([line.split(": ")[1] for line in said[-2:]], ["Owner of region r", "Mode of region r"])
        os.unlink(os.path.join(env.kernel, "unpopulated"))
        root.remove("r")
        env.stop()


def test_a_region_that_admitted_others_is_not_taken_over(env):
    """A process may have opened the region while it was admitted, and kept the descriptor, which cannot be seen."""
    env.start()
    root = env.client(0)
    for text, gid, mode, acl, taken in (("Mode=0640\nGroup=%d" % MAN, MAN, 0o640, False, True),
                                        ("Mode=0644\nGroup=%d" % MAN, MAN, 0o604, False, True),
                                        ("Mode=0640\nGroup=%d" % MAN, 0, 0o600, False, True),
                                        ("Mode=0640\nGroup=%d" % MAN, MAN, 0o644, False, False),
                                        ("Mode=0640\nGroup=%d" % MAN, MAN, 0o660, False, False),
                                        ("Mode=0640\nGroup=%d" % MAN, 0, 0o640, False, False),
                                        ("Mode=0660\nGroup=%d" % MAN, MAN, 0o600, True, False)):
        declare(env, "r", "Size=4K\nUser=games\n%s\n" % text)
        root.create("r", 4096, mode, uid=0, gid=gid)
        if acl:
            set_acl(env.fs("r"), (1, 6, None), (2, 6, MAIL), (4, 0, None), (16, 6, None), (32, 0, None))
        before = owner_and_mode(root)
        r = unit(env, "start", "r")
        if taken:
            equal((r.returncode, owner_and_mode(root)[0]), (0, GAMES))
        else:
            assert r.returncode == 1 and "which admits users that the file does not admit" in r.stderr, r.stderr
            assert ("and an access list" in r.stderr) == acl, r.stderr
            equal(owner_and_mode(root), before)
        root.remove("r")


def test_what_an_earlier_broker_leaves_closed_the_next_start_opens(env):
    shutil.copy(os.path.join(os.path.dirname(binary()), "mshared-older-test"), env.binary)
    env.start()
    root = env.client(0)
    declare(env, "r")
    killed(env, *held_back(env, root))
    there_is_memory(env)
    env.stop(signal.SIGKILL)
    shutil.copy(binary(), env.binary)
    env.start()
    equal(owner_and_mode(root)[2], 0)
    r = unit(env, "start", "r")
    equal((r.returncode, owner_and_mode(root)[2]), (0, 0o640))


def suspended(env):
    """A region of GAMES with mode 0600 that is suspended: a client of root's, and the holder."""
    env.start()
    root, holder = env.client(0), env.client(0)
    root.create("r", 4096, 0o600, uid=GAMES, gid=GAMES)
    holder.manager("SuspendRegion", "su", "r", 0o666)
    return root, holder


def test_the_bus_is_asked_again_for_a_process_that_populates(env):
    root, holder = suspended(env)
    env.stop(signal.SIGKILL)
    holder.kill()
    # The answer to the first question is lost.
    shutil.copy(os.path.join(os.path.dirname(binary()), "mshared-deaf-test"), env.binary)
    env.start()
    equal(owner_and_mode(root), [GAMES, GAMES, 0])
    wait_until(lambda: owner_and_mode(root) == [GAMES, GAMES, 0o600], timeout=40, what="the region to be as it was")
    log = env.read_log()
    assert "Cannot find out whether the process that populates region r still exists: " in log, log
    assert "now has owner 5:5 and mode 0600" in log, log


def immutable(env, name, on):
    """The kernel refuses changes of the file's owner and mode, also to root."""
    r = subprocess.run(["chattr", "+i" if on else "-i", env.fs(name)], capture_output=True, text=True)
    if r.returncode != 0:
        raise Skip("no immutable files here: " + r.stderr.strip())


def test_an_end_of_a_suspension_that_fails_is_tried_again(env):
    text = "Cannot restore owner and mode of region r"
    for when in ("the bus says that the holder has left", "the holder was on an earlier bus"):
        root, holder = suspended(env)
        logged = env.read_log().count(text)
        immutable(env, "r", True)
        try:
            if when == "the holder was on an earlier bus":
                env.stop_bus()
                env.start_bus()
                root = env.client(0)
            else:
                holder.kill()
            wait_until(lambda: env.read_log().count(text) > logged, what="the failure")
            equal(owner_and_mode(root), [GAMES, GAMES, 0])
        finally:
            immutable(env, "r", False)
        wait_until(lambda: owner_and_mode(root) == [GAMES, GAMES, 0o600], timeout=40, what="the region to be as it was: " + when)
        equal(env.read_log().count(text), logged + 1)
        root.remove("r")
        env.stop()


def test_a_broker_that_is_killed_while_it_ends_a_suspension_ends_it_later(env):
    env.start()
    root, holder = env.client(0), env.client(0)
    root.create("r", 4096, 0o604, uid=0, gid=0)
    holder.manager("SuspendRegion", "su", "r", 0o660)
    holder.manager("SetRegionOwner", "suu", "r", GAMES, MAN)
    env.stop(signal.SIGKILL)
    # The first half of it.
    os.chown(env.fs("r"), 0, 0)
    holder.kill()
    env.start()
    wait_until(lambda: owner_and_mode(root) == [0, 0, 0o604], what="the mode")


if __name__ == "__main__":
    sys.exit(main(globals()))
