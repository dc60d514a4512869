#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Access lists that are longer than the broker reads. See promises.py for the arguments."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, LP, MAIL, MAN, NEWS  # noqa: E402
from promises import REGION_IFACE, declare, equal, get_acl, main, owner_and_mode, refuses, set_acl, unit  # noqa: E402

UNKNOWN = [["unknown", 2**32 - 1, 6]]


def set_long_list(env, name, others=0):
    """300 users, among them MAIL, and a group that has rights of its own."""
    set_acl(env.fs(name), (1, 6, None), (2, 6, MAIL), *((2, 6, 1000 + i) for i in range(299)), (4, 6, None), (16, 6, None),
            (32, others, None))


def test_a_list_that_is_too_long_is_shown_as_unknown(env):
    env.start()
    root, stranger = env.client(0), env.client(MAIL)
    path = root.create("r", 8 << 20, 0o600, uid=GAMES, gid=MAN)[0]
    set_long_list(env, "r")
    equal(root.list()["r"]["mode"], 0o660)
    # Each user can read this at any rate, so it is not logged.
    before = env.read_log()
    for _ in range(3):
        equal(stranger.get(path, REGION_IFACE, "Acl"), UNKNOWN)
    equal(env.read_log(), before)
    # The unit sees that there is a list.
    declare(env, "r", "Size=8M\nMode=0660\nUser=games\nGroup=%d\n" % MAN)
    r = unit(env, "start", "r")
    assert r.returncode == 1 and " and an access list, " in r.stderr, r.stderr
    root.manager("SetRegionMode", "su", "r", 0o640)
    equal((stranger.get(path, REGION_IFACE, "Acl"), get_acl(env.fs("r"))), ([], None))


def test_a_list_that_is_too_long_admits_only_owner_and_root(env):
    env.start_polkit()
    env.start()
    root, owner, listed, member = env.client(0), env.client(GAMES), env.client(MAIL), env.client(LP, LP, (LP, MAN))
    root.create("r", mode=0o600, uid=GAMES, gid=MAN)
    set_long_list(env, "r")
    for access in "r", "rw":
        for c in owner, root:
            c.acquire("r", access)
            c.open("r", access)
        # Members of the group are in it with the rights that the mask has, which the broker does not know.
        for c in listed, member:
            refuses("AccessDenied", c.acquire, "r", access, contains="org.mshare1.acquire-region")
            refuses("AccessDenied", c.open, "r", access, contains="org.mshare1.acquire-region")
    before = get_acl(env.fs("r"))
    env.allow("org.mshare1.acquire-region")
    refuses("Failed", env.client(NEWS).acquire, "r", contains="Cannot add user %d" % NEWS)
    equal(get_acl(env.fs("r")), before)
    # For the question, the group has nothing now.
    refuses("AccessDenied", owner.manager, "SetRegionMode", "su", "r", 0o640, contains="org.mshare1.set-mode")
    owner.manager("SetRegionMode", "su", "r", 0o600)
    equal((get_acl(env.fs("r")), root.list()["r"]["mode"]), (None, 0o600))


def test_a_list_that_is_too_long_gives_the_group_nothing(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o604, uid=GAMES, gid=MAN)
    set_long_list(env, "r", others=4)
    equal(root.list()["r"]["mode"], 0o664)
    root.manager("SetRegionOwner", "suu", "r", NEWS, MAN)
    equal((get_acl(env.fs("r")), owner_and_mode(root)), (None, [NEWS, MAN, 0o604]))


if __name__ == "__main__":
    sys.exit(main(globals()))
