#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The order in which owner, mode and access list of a region are set: at no time does a combination of old and new values
admit a user. The broker is stopped between the steps. See promises.py for the arguments.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, MAIL, MAN, wait_until  # noqa: E402
from promises import MANAGER_IFACE, Held, equal, get_acl, main, owner_and_mode, set_acl  # noqa: E402


def send(client, member, signature, *args):
    client.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member=member, signature=signature, args=args)


def rights(env):
    st = os.stat(env.fs("r"))
    return [st.st_uid, st.st_gid, st.st_mode & 0o777]


def test_a_new_region_has_its_owner_before_its_mode(env):
    env.start()
    root = env.client(0)
    with Held(env, "chmod") as mode, Held(env, "chown") as owner:
        send(root, "CreateRegion", "stua{sv}", "r", 4096, 0o666, {"uid": GAMES, "gid": MAN})
        owner.wait()
        equal(rights(env), [DAEMON_UID, DAEMON_UID, 0])
        owner.release()
        mode.wait()
        equal(rights(env), [GAMES, MAN, 0])
    root.receive()
    equal(owner_and_mode(root), [GAMES, MAN, 0o666])


def test_a_region_loses_its_list_before_its_owner(env):
    env.start()
    root = env.client(0)
    root.create("r", 4096, 0o600, uid=GAMES, gid=GAMES)
    set_acl(env.fs("r"), (1, 6, None), (2, 6, MAIL), (4, 0, None), (16, 6, None), (32, 0, None))
    with Held(env, "chown") as owner:
        send(root, "SetRegionOwner", "suu", "r", MAN, MAN)
        owner.wait()
        equal((rights(env), get_acl(env.fs("r"))), ([GAMES, GAMES, 0o600], None))
    root.receive()
    equal(owner_and_mode(root), [MAN, MAN, 0o600])


def test_a_suspended_region_has_its_owner_back_before_its_mode(env):
    env.start()
    root, holder = env.client(0), env.client(0)
    root.create("r", 4096, 0o604, uid=GAMES, gid=GAMES)
    holder.manager("SuspendRegion", "su", "r", 0o660)
    holder.manager("SetRegionOwner", "suu", "r", MAN, MAN)
    with Held(env, "chmod") as mode, Held(env, "chown") as owner:
        holder.kill()
        owner.wait()
        equal(rights(env), [MAN, MAN, 0])
        owner.release()
        mode.wait()
        equal(rights(env), [GAMES, GAMES, 0])
    wait_until(lambda: owner_and_mode(root) == [GAMES, GAMES, 0o604], what="the region to be as it was")


if __name__ == "__main__":
    sys.exit(main(globals()))
