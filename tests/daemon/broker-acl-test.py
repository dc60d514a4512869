#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Access lists that are longer than the broker reads. See promises.py for the arguments."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, MAIL, MAN  # noqa: E402
from promises import REGION_IFACE, declare, equal, get_acl, main, set_acl, unit  # noqa: E402

UNKNOWN = [["unknown", 2**32 - 1, 6]]


def set_long_list(env, name):
    """300 users, among them MAIL, and a group that has rights of its own."""
    set_acl(env.fs(name), (1, 6, None), (2, 6, MAIL), *((2, 6, 1000 + i) for i in range(299)), (4, 6, None), (16, 6, None), (32, 0, None))


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


if __name__ == "__main__":
    sys.exit(main(globals()))
