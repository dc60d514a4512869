#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which processes hold a lease, as "msharectl clients" shows it: holders-test.py MSHARED MSHARECTL LIBMSHARE."""

import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../daemon"))

import harness  # noqa: E402
from harness import GAMES, MAIL, as_user, wait_until  # noqa: E402

binary, msharectl, library = sys.argv[1:4]


def ctl(env, *args, uid=0):
    """As that user, who may not have access to the build folder."""
    for path, name in (msharectl, "msharectl"), (library, "libmshare.so.0"):
        if not os.path.exists(env.script(name)):
            shutil.copy(path, env.script(name))
    r = subprocess.run([*as_user(uid), env.script("msharectl"), *args], capture_output=True, text=True, timeout=60,
                       env=dict(env.environ(), LD_LIBRARY_PATH=env.top))
    assert r.returncode == 0, r.stderr
    return r.stdout


def clients(env, **kwargs):
    return [(c["pid"], c["process"], c["held_by"]) for c in json.loads(ctl(env, "clients", "r", "--json=short", **kwargs))]


def test_a_process_that_has_ended_is_not_said_to_hold_the_lease(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666)
    lease = c.acquire("r")[2]
    pid = c.process.pid
    assert clients(env) == clients(env, uid=GAMES) == [(pid, "holds", None)], clients(env)
    assert "HELD BY" not in ctl(env, "clients", "r")
    # Another user does not see what it has open.
    assert clients(env, uid=MAIL) == [(pid, None, None)], clients(env, uid=MAIL)

    children = sorted(c.do("fork_hold") for _ in range(5))
    c.do("close", fd=lease)
    assert clients(env) == clients(env, uid=GAMES) == [(pid, "left", children)], clients(env)
    c.kill()
    wait_until(lambda: clients(env) == [(pid, "ended", children)], what="%r; it is %r" % (children, clients(env)))
    text = ctl(env, "clients", "r")
    names = ", ".join(r"%d python3\S*" % child for child in children[:3])
    assert re.search(r" PROCESS HELD BY *\n.* ended +%s, 2 more\n" % names, text), text
    # Another user sees that it has ended, and no more.
    assert clients(env, uid=MAIL) == [(pid, "ended", None)], clients(env, uid=MAIL)
    assert "ended   a process that only root can see" in ctl(env, "clients", "r", uid=MAIL)
    for child in children:
        os.kill(child, 9)
    wait_until(lambda: clients(env) == [], what="the end of the lease")


def test_a_file_of_that_name_is_no_lease(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666)
    c.acquire("r")
    child = c.do("fork_hold")
    c.kill()
    name = env.leases()[0]
    path = os.path.join(env.top, "leases")
    os.mkdir(path, 0o777)
    os.chmod(path, 0o777)
    script = 'mkfifo "$1" && exec 3<> "$1" && exec 4> "$1" && exec sleep 60'
    process = subprocess.Popen(as_user(MAIL) + ["sh", "-c", script, "sh", os.path.join(path, name)])
    try:
        wait_until(lambda: os.path.exists("/proc/%d/fd/4" % process.pid), what="the FIFO")
        wait_until(lambda: clients(env) == [(c.process.pid, "ended", [child])],
                   what="%r; it is %r" % (child, clients(env)))
    finally:
        process.kill()
        process.wait()
        os.kill(child, 9)


if __name__ == "__main__":
    sys.exit(harness.run_tests([test_a_process_that_has_ended_is_not_said_to_hold_the_lease,
                                test_a_file_of_that_name_is_no_lease], lambda: harness.Env(binary, "dbus-daemon")))
