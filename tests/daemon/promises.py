# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the broker's promises share. Each file of tests is called as

FILE BINARY dbus-daemon|dbus-broker [-t NAME]...

With $MSHARE_VALGRIND set the daemon runs under valgrind, with fewer rounds, and on dbus-daemon alone.
"""

import argparse
import errno
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Any

from harness import DAEMON_UID, GAMES, GRANULE, BusError, Env, Skip, run_tests, unshared, wait_until

REGION_IFACE = "org.mshare1.Region"
MANAGER_IFACE = "org.mshare1.Manager"
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOW = bool(os.environ.get("MSHARE_VALGRIND"))


def refuses(short: str, f: Callable[..., object], *args: Any, contains: str | Iterable[str] = (), **kwargs: Any) -> BusError:
    try:
        f(*args, **kwargs)
    except BusError as e:
        assert e.is_(short), "expected %s, got %s" % (short, e)
        for text in (contains,) if isinstance(contains, str) else contains:
            assert text in e.message, "%r is not in %r" % (text, e.message)
        return e
    raise AssertionError("expected %s, got no error" % short)


def equal(a: object, b: object) -> None:
    assert a == b, "%r is not %r" % (a, b)


class Monitor:
    """All messages from and to the daemon."""

    def __init__(self, env: Env) -> None:
        self.file = os.path.join(env.top, "monitor")
        with open(self.file, "w") as f:
            self.process = subprocess.Popen(["busctl", "--address=" + env.bus.address, "monitor", "--json=short",
                                             "org.mshare1"], stdout=f, stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def signals(self, member: str, path: str) -> list[dict[str, Any]]:
        """Those so far."""
        with open(self.file) as f:
            lines = [json.loads(line) for line in f.read().split("\n")[:-1]]
        return [m for m in lines if m.get("member") == member and m["path"] == path]

    def changes(self, path: str, name: str) -> list[Any]:
        """The values of a property that signals have announced so far."""
        return [m["payload"]["data"][1][name]["data"] for m in self.signals("PropertiesChanged", path)
                if name in m["payload"]["data"][1]]

    def end(self) -> list[dict[str, Any]]:
        self.process.terminate()
        self.process.wait()
        with open(self.file) as f:
            return [json.loads(line) for line in f]


class Held:
    """While this is in force, the broker stops before it does that; see kernel-double.c."""

    def __init__(self, env: Env, what: str) -> None:
        self.what = what
        self.hold, self.held = (os.path.join(env.kernel, name) for name in ("hold-" + what, "held"))

    def __enter__(self) -> "Held":
        open(self.hold, "w").close()
        return self

    def wait(self) -> None:
        wait_until(lambda: os.path.exists(self.held), what="the broker to be about to " + self.what)

    def release(self) -> None:
        """The end, or earlier. Whoever is released may be held by another of these at once, and says so."""
        for file in self.held, self.hold:
            if os.path.exists(file):
                os.unlink(file)

    def __exit__(self, *_: object) -> None:
        self.release()


def set_acl(path: str, *entries: tuple[int, int, int | None]) -> None:
    """Entries are (tag, permissions, id); 1 owner, 2 user, 4 group, 8 another group, 16 mask, 32 others."""
    v = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, perm, 0xffffffff if number is None else number)
                                        for tag, perm, number in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", v)
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            raise Skip("no access lists in " + os.path.dirname(path))
        raise


def get_acl(path: str) -> set[tuple[Any, ...]] | None:
    """As a set of (tag, permissions, id), None if there is none."""
    try:
        v = os.getxattr(path, "system.posix_acl_access")
    except OSError as e:
        if e.errno == errno.ENODATA:
            return None
        raise
    return {struct.unpack_from("<HHI", v, i) for i in range(4, len(v), 8)}


def file_of_zeroes(env: Env, name: str, size: int) -> str:
    """The path of such a file."""
    path = os.path.join(env.top, name)
    with open(path, "wb") as f:
        f.truncate(size)
    return path


def declare(env: Env, name: str, text: str = "Size=8M\nMode=0640\nUser=games\nPopulate=yes\n") -> None:
    with open(os.path.join(env.regions_dir, name + ".conf"), "w") as f:
        f.write("[Region]\n" + text)


def start_unit(env: Env, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([env.region_program, "start", name], env=env.environ(), stderr=subprocess.PIPE, text=True)


def unit(env: Env, verb: str, name: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([env.region_program, verb, name], env=env.environ(), capture_output=True, text=True)


class Keeper:
    """The process of a region's unit, with the manager's end of its notifications."""

    def __init__(self, env: Env, name: str) -> None:
        path = os.path.join(env.top, "notify-" + name)
        if os.path.exists(path):
            os.unlink(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(30)
        self.process = subprocess.Popen([env.region_program, "run", name], env=dict(env.environ(), NOTIFY_SOCKET=path),
                                        stderr=subprocess.PIPE, text=True)

    def ready(self) -> "Keeper":
        assert b"READY=1" in self.socket.recv(4096)
        return self

    def ends(self, status: int, *texts: str) -> None:
        said = self.process.communicate(timeout=30)[1]
        equal(self.process.returncode, status)
        for text in texts:
            assert text in said, (text, said)
        self.socket.close()

    def stays(self) -> None:
        time.sleep(0.5)
        assert self.process.poll() is None, self.process.communicate()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


def children(pid: int) -> list[int]:
    return [int(p) for p in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()]


def held_back(env: Env, root: Any) -> tuple["subprocess.Popen[str]", int]:
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


def there_is_memory(env: Env) -> None:
    os.unlink(os.path.join(env.kernel, "available"))


def owner_and_mode(client: Any) -> list[Any]:
    return [client.list()["r"][key] for key in ("uid", "gid", "mode")]


def start_real_polkit(env: Env, rules: str) -> None:
    """The real polkitd, with our actions and these rules. They are in /etc and /usr, hence the mount namespace."""
    polkitd = next((p for p in ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd") if os.path.exists(p)), None)
    if not polkitd or not shutil.which("unshare"):
        raise Skip("polkitd is not installed")
    for d in ("actions", "rules.d"):
        os.mkdir(os.path.join(env.top, d), 0o755)
    with open(os.path.join(SOURCE, "polkit/org.mshare1.policy"), encoding="utf-8") as f:
        policy = f.read()
    with open(os.path.join(env.top, "actions/org.mshare1.policy"), "w", encoding="utf-8") as f:
        f.write(policy.replace("unix-user:mshared", "unix-user:%d" % DAEMON_UID))
    with open(os.path.join(env.top, "rules.d/50-mshare.rules"), "w", encoding="utf-8") as f:
        f.write(rules)
    script = 'mount --bind "$1/actions" /usr/share/polkit-1/actions && mount --bind "$1/rules.d" /etc/polkit-1/rules.d && ' \
             'exec "$2" --no-debug'
    process = subprocess.Popen(unshared(script, env.top, polkitd), env=env.environ(), stdout=env.log, stderr=env.log)
    env.polkit = process
    wait_until(lambda: process.poll() is not None or
               subprocess.run(["busctl", "--address=" + env.bus.address, "status", "org.freedesktop.PolicyKit1"],
                              capture_output=True).returncode == 0, what="polkitd")
    if process.poll() is not None:
        raise Skip("polkitd does not run here: " + env.read_log()[-200:])


def make_by_hand(env: Env, name: str, start: int, access: str | None = None, mode: int = 0o666) -> None:
    """A region created without the broker; access is what the kernel shows, if it shows any."""
    if access:
        env.access(name, access)
    path = env.fs(name)
    with open(path + ".tmp", "wb") as f:
        f.write(start.to_bytes(8, "little") + GRANULE.to_bytes(8, "little"))
    os.chmod(path + ".tmp", mode)
    os.chown(path + ".tmp", GAMES, GAMES)
    os.rename(path + ".tmp", path)


def binary() -> str:
    """The program under test."""
    return arguments().binary


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("bus", choices=("dbus-daemon", "dbus-broker"))
    parser.add_argument("-t", action="append", default=[], help="only tests whose names contain this")
    return parser.parse_args()


def main(names: dict[str, Any]) -> int:
    """Runs the tests among these names, a module's globals(). Returns the exit status."""
    args = arguments()
    wrapper: tuple[str, ...] = ()
    if os.geteuid() != 0:
        print("1..0 # SKIP clients under other uids need root")
        return 0
    for tool in (args.bus if args.bus == "dbus-daemon" else "dbus-broker-launch", "setpriv", "busctl"):
        if not shutil.which(tool):
            print("1..0 # SKIP %s is not installed" % tool)
            return 0
    for module in ("dbus", "dbusmock", "gi"):
        if subprocess.run(["/usr/bin/python3", "-c", "import " + module], capture_output=True).returncode != 0:
            print("1..0 # SKIP python3's %s is not installed" % module)
            return 0
    if SLOW:
        if args.bus == "dbus-broker":
            print("1..0 # SKIP the daemon has been under valgrind on dbus-daemon")
            return 0
        if not shutil.which("valgrind"):
            print("1..0 # SKIP valgrind is not installed")
            return 0
        # Without lists of inlined functions it starts sooner. It finds the same.
        wrapper = ("valgrind", "--read-inline-info=no", "--leak-check=full", "--errors-for-leak-kinds=definite", "--error-exitcode=99",
                   "--trace-children=no")
    tests = [f for n, f in list(names.items()) if n.startswith("test_")]
    if args.t:
        tests = [f for f in tests if any(t in f.__name__ for t in args.t)]
    return run_tests(tests, lambda: Env(args.binary, args.bus, wrapper))
