#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Users that pretend to be others: with signals, which every user can send to any connection, and with processes that have
ended. See promises.py for the arguments."""

import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, MAIL, as_user  # noqa: E402
from promises import Keeper, binary, declare, equal, held_back, main, refuses, there_is_memory  # noqa: E402


def forge(env, destination, path, interface, member, *args):
    subprocess.run(as_user(MAIL) + ["dbus-send", "--bus=" + env.bus.address, "--type=signal", "--dest=" + destination,
                                    path, interface + "." + member, *("string:" + a for a in args)], check=True, timeout=20)


def connection_of(env, client, pid):
    """The unique name of a process's connection, which every user can find out in this way."""
    def ask(member, signature="", *args):
        return client.do("call", destination="org.freedesktop.DBus", path="/org/freedesktop/DBus",
                         interface="org.freedesktop.DBus", member=member, signature=signature, args=args)

    return next(n for n in ask("ListNames") if n[0] == ":" and ask("GetConnectionUnixProcessID", "s", n) == pid)


def say_that_it_left(env, name):
    forge(env, "org.mshare1", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged", name, name, "")


def test_only_the_bus_says_that_a_connection_has_left(env):
    env.start_polkit()
    env.start()
    root, holder, waiting = env.client(0), env.client(0), env.client(GAMES)
    root.create("r", 4096, 0o606, uid=0, gid=0)
    holder.manager("SuspendRegion", "su", "r", 0o640)
    root.create("new", 4096, 0, **{"final-mode": 0o640})
    names = [client.do("unique_name") for client in (holder, root, waiting)]
    env.polkit_do("SetHang", "b", True)
    waiting.send("call", path="/org/mshare1", interface="org.mshare1.Manager", member="CreateRegion", signature="stua{sv}",
                 args=["asked", 4096, 0o600, {}])
    time.sleep(0.3)
    for name in names:
        say_that_it_left(env, name)
    time.sleep(0.3)
    equal([(name, row["mode"]) for name, row in sorted(root.list().items())], [("new", 0), ("r", 0)])
    env.polkit_do("Release")
    refuses("AccessDenied", waiting.receive)


def test_only_the_broker_says_that_a_region_was_removed(env):
    env.start()
    root = env.client(0)
    declare(env, "r")
    helper, child = held_back(env, root)
    there_is_memory(env)

    def say_that_it_was_removed(pid):
        forge(env, connection_of(env, root, pid), "/org/mshare1", "org.mshare1.Manager", "RegionRemoved", "r")

    say_that_it_was_removed(helper.pid)
    time.sleep(0.3)
    equal(helper.poll(), None)
    os.kill(child, signal.SIGCONT)
    equal((helper.communicate(timeout=20)[1], helper.returncode), ("", 0))
    keeper = Keeper(env, "r").ready()
    say_that_it_was_removed(keeper.process.pid)
    keeper.stays()
    root.remove("r")
    keeper.ends(0, "Region r has been removed")


# Stands for a connection whose process has ended and whose number belongs to a process of another user. The bus keeps what was
# true when the connection was opened.
CHANGES_ITS_USER = """
import dbus.bus, os, sys
os.setresuid(-1, %d, -1)
bus = dbus.bus.BusConnection(sys.argv[1])
os.setresuid(0, 0, 0)
manager = dbus.Interface(bus.get_object("org.mshare1", "/org/mshare1", introspect=False), "org.mshare1.Manager")
manager.CreateRegion("r", dbus.UInt64(4096), dbus.UInt32(0o600), dbus.Dictionary({}, signature="sv"))
fd = manager.AcquireRegion("r", "rw", dbus.Dictionary({}, signature="sv"))[2].take()
print("".join(c[2] for c in manager.ListClients("r")))
""" % MAIL


def test_the_unit_of_another_user_is_not_named(env):
    shutil.copy(os.path.join(os.path.dirname(binary()), "mshared-unit-test"), env.binary)
    env.start_polkit()
    env.allow("org.mshare1.create-region")
    env.start()
    client = env.client(MAIL)
    client.create("r")
    assert "user %d (process %d, unit some.service)" % (MAIL, client.process.pid) in env.read_log(), env.read_log()
    client.acquire("r")
    equal([row[2] for row in client.manager("ListClients", "s", "r")], ["some.service"])
    client.remove("r", force=True)
    logged = len(env.read_log())
    p = subprocess.run(["/usr/bin/python3", "-c", CHANGES_ITS_USER, env.bus.address], capture_output=True, text=True, timeout=30)
    equal((p.stderr, p.stdout), ("", "\n"))
    log = env.read_log()[logged:]
    assert "by user %d (process " % MAIL in log and "some.service" not in log, log


if __name__ == "__main__":
    sys.exit(main(globals()))
