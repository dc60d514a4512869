#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Units of regions: when they end, what size their regions get, what their status says. Also the end, the log and the
labels of the broker. See promises.py for the arguments."""

import os
import pwd
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, MAIL, Skip, as_user, wait_until  # noqa: E402
from promises import Keeper, MANAGER_IFACE, REGION_IFACE, equal, file_of_zeroes, main, refuses  # noqa: E402


def declare(env, name, text="Size=8M\nMode=0640\nUser=games\n"):
    with open(os.path.join(env.regions_dir, name + ".conf"), "w") as f:
        f.write("[Region]\n" + text)


def test_a_unit_follows_its_region(env):
    env.start()
    root = env.client(0)
    declare(env, "r")
    # Removed by a call, by force, and without the broker.
    for remove in (lambda: root.remove("r"), lambda: root.remove("r", force=True), lambda: os.unlink(env.fs("r"))):
        keeper = Keeper(env, "r").ready()
        equal(root.list()["r"]["uid"], GAMES)
        root.create("other")
        root.remove("other")
        keeper.stays()
        remove()
        keeper.ends(0, "Region r has been removed")
    # The next start creates it again, and the stop of a unit removes it.
    keeper = Keeper(env, "r").ready()
    keeper.stop()
    keeper.ends(0)
    equal((root.list(), env.states()), ({}, []))


def test_a_unit_of_a_region_that_lives_while_leased_ends_with_it(env):
    env.start()
    declare(env, "r", "Size=8M\nUser=games\nLifetime=while-leased\n")
    keeper = Keeper(env, "r").ready()
    c = env.client(GAMES)
    c.acquire("r")
    keeper.stays()
    c.kill()
    keeper.ends(0, "Region r has been removed")


def test_a_unit_outlives_broker_and_bus(env):
    env.start()
    declare(env, "r")
    keeper = Keeper(env, "r").ready()
    for sig in (signal.SIGTERM, signal.SIGKILL):
        env.restart(sig)
        keeper.stays()
    env.stop_bus()
    keeper.stays()
    env.start_bus()
    keeper.stays()
    # What happens while the broker is away is noticed when it is back.
    env.stop()
    os.unlink(env.fs("r"))
    keeper.stays()
    env.start()
    keeper.ends(0, "Region r has been removed")


def test_a_unit_does_not_remove_another_region_of_that_name(env):
    env.start()
    root = env.client(0)
    declare(env, "r")
    keeper = Keeper(env, "r").ready()
    keeper.process.send_signal(signal.SIGSTOP)
    root.remove("r")
    root.create("r", mode=0o600, uid=MAIL, gid=MAIL)
    keeper.stop()
    keeper.process.send_signal(signal.SIGCONT)
    keeper.ends(0)
    equal(root.list()["r"]["uid"], MAIL)


def test_a_stop_that_fails_says_so(env):
    env.start()
    declare(env, "r")
    keeper = Keeper(env, "r").ready()
    os.chown(env.kernel + "/fs", 0, 0)
    keeper.stop()
    keeper.ends(1, "Cannot remove region r: Cannot unlink region")


def test_a_file_that_may_only_be_read_backs_a_region(env):
    env.start()
    backing = file_of_zeroes(env, "backing", 1 << 20)
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" start r'
    declare(env, "r", "Size=1M\nBacking=file\nPath=%s\n" % backing)
    r = subprocess.run(["unshare", "-m", "--propagation", "unchanged", "sh", "-c",
                        "mount --make-rprivate / 2>/dev/null; " + mount, "sh", backing, env.region_program],
                       env=env.environ(), capture_output=True, text=True)
    equal((r.returncode, r.stderr), (0, ""))
    equal(env.client(0).get("/org/mshare1/region/r", REGION_IFACE, "Backing"), "file")


FAKE = """#!/bin/sh
[ "$(id -u):$(id -G)" = "$OWNER:$GROUPS" ] || { echo "I am $(id)" >&2; exit 1; }
[ "$1 $3 $4" = "-D -C shared_memory_size" ] || exit 2
cat "$2/answer" || exit 3
"""


def test_a_region_is_as_large_as_its_server_needs(env):
    env.start()
    root = env.client(0)
    top = os.path.join(env.top, "pg")
    # As at a login, with all groups.
    groups = subprocess.run(["id", "-G", "games"], capture_output=True, text=True).stdout.strip()
    etc, lib = os.path.join(top, "etc"), os.path.join(top, "lib")
    for version in (14, 15):
        for d in (os.path.join(etc, str(version), "main"), os.path.join(lib, str(version), "bin")):
            os.makedirs(d)
        os.chown(os.path.join(etc, str(version), "main"), GAMES, GAMES)
        program = os.path.join(lib, str(version), "bin/postgres")
        with open(program, "w") as f:
            f.write(FAKE.replace("$OWNER", str(GAMES)).replace("$GROUPS", groups))
        os.chmod(program, 0o755)
    os.makedirs(os.path.join(etc, "15/roots"))
    # Both folders are laid out as on a system with PostgreSQL.
    script = 'mount --make-rprivate / 2>/dev/null; for d in /etc /usr/lib; do mkdir -p "$1/up$d" "$1/work$d"; ' \
             'mount -t tmpfs none "$1/work$d" && mkdir "$1/work$d/u" "$1/work$d/w" && ' \
             'mount -t overlay none -o "lowerdir=$d,upperdir=$1/work$d/u,workdir=$1/work$d/w" $d || exit 77; ' \
             'mkdir -p $d/postgresql; done; ' \
             'mount --bind "$1/pg/etc" /etc/postgresql && mount --bind "$1/pg/lib" /usr/lib/postgresql || exit 77; ' \
             'exec "$2" start r'

    def start(server, answer=None, more=""):
        if answer is not None:
            with open(os.path.join(etc, "15/main/answer"), "w") as f:
                f.write(answer)
        declare(env, "r", "Size=auto\nFor=%s\n" % server + more)
        r = subprocess.run(["unshare", "-m", "--propagation", "unchanged", "sh", "-c", script, "sh", env.top, env.region_program],
                           env=env.environ(), capture_output=True, text=True)
        if r.returncode == 77:
            raise Skip("no overlay in a mount namespace: " + r.stderr)
        return r

    for mib, wanted in ((143, 143 + 14 + 1), (307200, 307200 + 30720 + 1)):
        r = start("postgresql:15/main", "%d\n" % mib)
        assert r.returncode == 0 and "needs %d MiB" % mib in r.stderr, r.stderr
        equal(root.get("/org/mshare1/region/r", REGION_IFACE, "Size"), wanted << 20)
        root.remove("r")
    # PostgreSQL's settings may belong to root.
    with open(os.path.join(etc, "15/roots/answer"), "w") as f:
        f.write("143\n")
    for server in ("postgresql:15/roots", "postgresql:15/main"):
        r = start(server, "143\n", "User=games\n")
        assert r.returncode == 0 and "needs 143 MiB" in r.stderr, r.stderr
        root.remove("r")
    # The folder's owner does not count, because another user could exchange the folder.
    r = start("postgresql:15/main", more="User=nobody\n")
    assert r.returncode == 1 and "I am uid=%d(nobody)" % pwd.getpwnam("nobody").pw_uid in r.stderr, r.stderr
    for answer in ("", "0\n", "many\n", "-5\n", "99999999999999999999\n"):
        r = start("postgresql:15/main", answer)
        assert r.returncode == 1 and "set Size= to a number" in r.stderr, (answer, r.stderr)
    os.unlink(os.path.join(etc, "15/main/answer"))
    for server, text in (("postgresql:15/main", "set Size= to a number"), ("postgresql:14/main", "version 15 and later"),
                         ("postgresql:15/other", "cannot read the configuration"),
                         ("postgresql:15/roots", "belongs to root"), ("postgresql:15/../x", ":3: For="),
                         ("postgresql:/main", ":3: For="), ("mysql:8/main", ":3: For=")):
        r = start(server)
        assert r.returncode == 1 and text in r.stderr, (server, r.stderr)
    for text, wants in (("Size=auto\n", "Size=auto requires For="), ("Size=1M\nFor=postgresql:15/main\n", "For= requires Size=auto")):
        declare(env, "r", text)
        r = subprocess.run([env.region_program, "start", "r"], env=env.environ(), capture_output=True, text=True)
        assert r.returncode == 1 and wants in r.stderr, r.stderr
    equal(root.list(), {})


# --- the broker's own unit ---

def test_the_end_of_the_broker_leaves_nothing_half_made(env):
    env.start()
    with open(env.kernel + "/available", "w") as f:
        f.write("0")
    callers = [env.client(0) for _ in range(3)]
    for i, c in enumerate(callers):
        c.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
               args=["big%d" % i, 64 << 20, 0o600, {"populate": True}])
    wait_until(lambda: len(os.listdir(env.kernel + "/fs")) == 3, what="the names")
    donors = subprocess.run(["pgrep", "-P", str(env.daemon.pid)], capture_output=True, text=True).stdout.split()
    equal(len(donors), 3)
    for pid in donors:
        os.kill(int(pid), signal.SIGSTOP)
    env.client(0).create("done")
    env.stop()
    equal((os.listdir(env.kernel + "/fs"), env.states()), (["done"], ["done"]))
    assert not any(os.path.exists("/proc/" + pid) for pid in donors), donors
    equal(env.read_log().count(": The broker was stopped"), 3)
    for c in callers:
        refuses("NoReply", c.receive)


def start_of(env, *limits):
    """Whether the daemon comes up, and what it says."""
    with subprocess.Popen(as_user(DAEMON_UID) + [*limits, env.binary], env=env.environ(), stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        env.daemon = process
        wait_until(lambda: process.poll() is not None or env.name_is_ours(), timeout=60, what="the daemon")
        up = process.poll() is None
        process.terminate()
        said = process.communicate()[1]
    env.daemon = None
    if not up:
        (error,) = [line for line in said.splitlines() if line.startswith("mshared[err]: ")]
        equal(process.returncode, 1)
        said = error
    return up, said


def test_a_start_that_fails_says_why(env):
    # Each descriptor that the start needs is refused once. With less than four, the loader fails.
    reasons = []
    for n in range(4, 40):
        up, said = start_of(env, "prlimit", "--nofile=%d:%d" % (n, n))
        if up:
            break
        reasons.append(said)
    assert up, reasons
    for step in ("use the runtime directory", "set up the event loop", "connect to the system bus"):
        assert any("Cannot " + step in said and said.endswith("Too many open files") for said in reasons), (step, reasons)
    with open(os.path.join(env.kernel, "no-signals"), "w"):
        pass
    equal(start_of(env), (False, "mshared[err]: Cannot wait for signals and the watchdog: Too many open files"))


def test_the_status_is_true_at_any_time(env):
    env.start(notify=False)
    env.stop()
    path = os.path.join(env.top, "notify")
    said = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    said.bind(path)
    os.chmod(path, 0o666)
    said.settimeout(0.2)
    environ = env.environ
    env.environ = lambda: dict(environ(), NOTIFY_SOCKET=path)
    env.start()
    last = [""]

    def status():
        try:
            while True:
                for line in said.recv(4096).decode().splitlines():
                    if line.startswith("STATUS="):
                        last[0] = line[len("STATUS="):]
        except socket.timeout:
            return last[0]

    def becomes(text):
        wait_until(lambda: status() == text, what=text)

    root = env.client(0)
    becomes("0 regions, 0 clients")
    root.create("r")
    becomes("1 region, 0 clients")
    lease = root.acquire("r")[2]
    becomes("1 region, 1 client")
    root.acquire("r")
    becomes("1 region, 2 clients")
    root.do("close", fd=lease)
    becomes("1 region, 1 client")
    root.remove("r", force=True)
    becomes("0 regions, 0 clients")
    said.close()


def test_the_log_is_set_without_a_question_to_the_bus(env):
    env.start()
    root = env.client(0)
    root.list()
    monitor = subprocess.Popen(["busctl", "--address=" + env.bus.address, "monitor", "--match=member=GetConnectionCredentials"],
                               stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    # The broker knows the connection and need not ask the bus about it.
    for c, level in ((root, "debug"), (root, "info")):
        c.do("call", path="/org/freedesktop/LogControl1", interface="org.freedesktop.DBus.Properties", member="Set",
             signature="ssv", args=["org.freedesktop.LogControl1", "LogLevel", level])
    time.sleep(0.5)
    monitor.terminate()
    asked = monitor.communicate()[0]
    assert "GetConnectionCredentials" not in asked, asked
    assert "Set the log level to debug, by user 0 (process %d" % root.process.pid in env.read_log(), env.read_log()
    for name, value in (("LogLevel", "emerg"), ("LogTarget", "null")):
        refuses("AccessDenied", env.client(GAMES).do, "call", path="/org/freedesktop/LogControl1",
                interface="org.freedesktop.DBus.Properties", member="Set", signature="ssv",
                args=["org.freedesktop.LogControl1", name, value], contains="Only root may set")
    refuses("InvalidArgs", root.do, "call", path="/org/freedesktop/LogControl1",
            interface="org.freedesktop.DBus.Properties", member="Set", signature="ssv",
            args=["org.freedesktop.LogControl1", "LogLevel", "loud"], contains=("'loud'", "debug"))


def test_labels_are_fit_for_terminals(env):
    env.start()
    root = env.client(0)
    for label in ("\x1b[2Jgone", "two\nlines", "tab\there", "\x7f", "c1 \u009b2J"):
        refuses("InvalidArgs", root.create, "r", label=label, contains="control character")
    root.create("r", label="Größe 1, für alle")
    equal(root.get("/org/mshare1/region/r", REGION_IFACE, "Label"), "Größe 1, für alle")


if __name__ == "__main__":
    sys.exit(main(globals()))
