# SPDX-License-Identifier: LGPL-2.1-or-later
"""Private buses, the daemon on its kernel double, and clients under other uids."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
# Users that exist on every Debian, because dbus-daemon refuses uids without a name.
DAEMON_UID = 1
GAMES, MAN, LP, MAIL, NEWS = 5, 6, 7, 8, 9
TiB = 1 << 40
GRANULE = 1 << 30

BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
%s
</busconfig>
"""


def installed_policy() -> str:
    """The policy that is installed for the bus, for the user that runs the daemon here."""
    with open(os.path.join(HERE, "../../dbus/org.mshare1.conf"), encoding="utf-8") as f:
        text = f.read()
    assert 'user="mshared"' in text
    return text[text.index("<busconfig>") + len("<busconfig>"):text.index("</busconfig>")].replace(
        'user="mshared"', 'user="%d"' % DAEMON_UID)


class Skip(Exception):
    pass


def read_journal(journal: socket.socket) -> None:
    """Without a reader dbus-broker stands still when it has logged enough, as it does when it disconnects clients."""
    try:
        while journal.recv(65536):
            pass
    except OSError:
        pass


class BusError(Exception):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(name + ": " + message)
        self.name = name
        self.message = message

    def is_(self, short: str) -> bool:
        return self.name in ("org.mshare1.Error." + short, "org.freedesktop.DBus.Error." + short)


def wait_until(condition: Callable[[], Any], timeout: float = 10, step: float = 0.02, what: str = "condition") -> Any:
    """Many conditions start a program to ask. What takes long is asked less often, or the questions slow it down."""
    end = time.monotonic() + timeout
    longest = 10 * step
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out waiting for " + what)
        time.sleep(step)
        step = min(1.5 * step, longest)


def as_user(uid: int, gid: int | None = None, groups: Sequence[int] = (), caps: str = "") -> list[str]:
    gid = uid if gid is None else gid
    cmd = ["setpriv", "--reuid=%d" % uid, "--regid=%d" % gid]
    cmd += ["--groups=" + ",".join(map(str, groups))] if groups else ["--clear-groups"]
    if caps:
        cmd += ["--inh-caps=" + caps, "--ambient-caps=" + caps]
    return cmd


# Mounts made here are not visible outside. In a chroot, / may not be a mount point and then cannot be made private.
# /proc always can: a copy of the whole tree is mounted there, made private and entered.
UNSHARED = """
if mount --make-rprivate / 2>/dev/null; then exec sh -c "$@"; fi
mount --make-private /proc && mount --rbind / /proc && mount --make-rprivate /proc && exec chroot /proc sh -c "$@"
"""


def unshared(script: str, *args: str) -> list[str]:
    """The command that runs this shell script with private mounts; the arguments are $1 and so on."""
    return ["unshare", "-m", "--propagation", "unchanged", "sh", "-c", UNSHARED, "sh", script, "sh", *args]


class Bus:
    """A private bus that accepts every user, started in the same way as the system's."""

    def __init__(self, kind: str, top: str) -> None:
        self.kind = kind
        self.dir = os.path.join(top, "bus")
        os.mkdir(self.dir, 0o755)
        self.path = os.path.join(self.dir, "socket")
        self.address = "unix:path=" + self.path
        self.log = open(os.path.join(self.dir, "log"), "w+")
        self.journal: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.policy = installed_policy()
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        config = os.path.join(self.dir, "bus.conf")
        with open(config, "w") as f:
            f.write(BUS_CONFIG % (self.path, self.policy))
        if os.path.exists(self.path):
            os.unlink(self.path)
        if self.kind == "dbus-daemon":
            cmd = ["dbus-daemon", "--nofork", "--nopidfile", "--config-file=" + config]
        else:
            cmd = self.broker_command(config)
        process = subprocess.Popen(cmd, stdout=self.log, stderr=self.log, start_new_session=True)
        self.process = process
        wait_until(lambda: os.path.exists(self.path) or process.poll() is not None, what="the bus socket")
        if process.poll() is not None:
            self.does_not_run("")
        os.chmod(self.path, 0o666)
        # The socket has its name shortly before it listens.
        for _ in range(50):
            probe = subprocess.run(["busctl", "--address=" + self.address, "call", "org.freedesktop.DBus",
                                    "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId"],
                                   capture_output=True, text=True, timeout=20)
            if "Connection refused" not in probe.stderr or process.poll() is not None:
                break
            time.sleep(0.1)
        if probe.returncode != 0:
            self.does_not_run(probe.stderr)

    def does_not_run(self, why: str) -> NoReturn:
        self.stop()
        self.log.seek(0)
        raise Skip("%s does not run here: %s" % (self.kind, (self.log.read() or why).strip()[-200:]))

    def broker_command(self, config: str) -> list[str]:
        """dbus-broker's launcher needs a journal and a listening socket. On a real system, systemd provides both."""
        for tool in ("dbus-broker-launch", "systemd-socket-activate", "unshare"):
            if not shutil.which(tool):
                raise Skip(tool + " is not installed")
        run = os.path.join(self.dir, "run")
        os.makedirs(os.path.join(run, "systemd/journal"), exist_ok=True)
        path = os.path.join(run, "systemd/journal/socket")
        if os.path.exists(path):
            os.unlink(path)
        self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.journal.bind(path)
        threading.Thread(target=read_journal, args=(self.journal,), daemon=True).start()
        script = 'mount --bind "$1" /run && exec systemd-socket-activate -E DBUS_SESSION_BUS_ADDRESS="unix:path=$2" -l "$2" dbus-broker-launch --scope user ' \
                 '--config-file="$3"'
        return unshared(script, run, self.path, config)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self.journal:
            self.journal.shutdown(socket.SHUT_RDWR)
            self.journal.close()
            self.journal = None


class Client:
    """A process under another uid that makes calls; see client.py."""

    def __init__(self, env: "Env", uid: int, gid: int | None = None, groups: Sequence[int] = ()) -> None:
        self.uid = uid
        environ = dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=env.bus.address)
        self.process = subprocess.Popen(as_user(uid, gid, groups) + ["/usr/bin/python3", env.script("client.py")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)

    def send(self, what: str, **kwargs: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(dict(kwargs, what=what)) + "\n")
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the client process is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise BusError(answer["error"], answer["message"])
        return answer["result"]

    def do(self, what: str, **kwargs: Any) -> Any:
        self.send(what, **kwargs)
        return self.receive()

    def manager(self, member: str, signature: str = "", *args: Any, **kwargs: Any) -> Any:
        return self.do("call", path="/org/mshare1", interface="org.mshare1.Manager", member=member,
                       signature=signature, args=args, **kwargs)

    def region(self, path: str, member: str, signature: str = "", *args: Any) -> Any:
        return self.do("call", path=path, interface="org.mshare1.Region", member=member, signature=signature, args=args)

    def get(self, path: str, interface: str, name: str) -> Any:
        return self.do("call", path=path, interface="org.freedesktop.DBus.Properties", member="Get", signature="ss",
                       args=[interface, name])

    def create(self, name: str, size: int = 1 << 20, mode: int = 0o600, **options: Any) -> Any:
        return self.manager("CreateRegion", "stua{sv}", name, size, mode, options)

    def acquire(self, name: str, access: str = "rw") -> tuple[int, int, int]:
        address, length, lease = self.manager("AcquireRegion", "ssa{sv}", name, access, {})
        return address, length, lease

    def open(self, name: str, access: str = "rw") -> tuple[int, int, int, int]:
        address, length, lease, file = self.manager("OpenRegion", "ssa{sv}", name, access, {})
        return address, length, lease, file

    def resize(self, name: str, size: int, **options: Any) -> Any:
        return self.manager("ResizeRegion", "sta{sv}", name, size, options)

    def remove(self, name: str, **options: Any) -> Any:
        return self.manager("RemoveRegion", "sa{sv}", name, options)

    def list(self) -> dict[str, dict[str, Any]]:
        return {r[0]: dict(zip(("name", "path", "address", "length", "mode", "uid", "gid", "clients", "state"), r))
                for r in self.manager("ListRegions")}

    def close(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin
            self.process.stdin.close()
            self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Env:
    """One bus, one daemon, one kernel double."""

    def __init__(self, binary: str, kind: str, wrapper: Iterable[str] = ()) -> None:
        self.top = tempfile.mkdtemp(prefix="mshared-")
        try:
            self.fill(binary, kind, wrapper)
        except BaseException:
            shutil.rmtree(self.top, ignore_errors=True)
            raise

    def fill(self, binary: str, kind: str, wrapper: Iterable[str]) -> None:
        os.chmod(self.top, 0o755)
        self.wrapper = list(wrapper)
        # Killed at the end; a client, or any other process of a test.
        self.clients: list[Client | subprocess.Popen[str]] = []
        self.daemon: subprocess.Popen[bytes] | None = None
        self.polkit: subprocess.Popen[bytes] | None = None
        self.kernel = os.path.join(self.top, "kernel")
        self.runtime = os.path.join(self.top, "run")
        self.config = os.path.join(self.top, "etc")
        self.regions_dir = os.path.join(self.config, "regions.d")
        for d in (self.kernel, self.kernel + "/fs", self.kernel + "/usage", self.kernel + "/access", self.kernel + "/maps", self.runtime, self.config,
                  self.config + "/mshared.conf.d", self.regions_dir):
            os.mkdir(d, 0o755)
        for d in (self.runtime, self.kernel, self.kernel + "/fs"):
            os.chown(d, DAEMON_UID, DAEMON_UID)
        # Other users may not have access to the build folder.
        self.binary = os.path.join(self.top, "mshared")
        shutil.copy(binary, self.binary)
        self.donor_program = self.binary
        self.region_program = os.path.join(self.top, "mshare-region")
        shutil.copy(os.path.join(os.path.dirname(binary), "mshare-region-test"), self.region_program)
        for f in ("client.py",):
            shutil.copy(os.path.join(HERE, f), self.top)
        self.log = open(os.path.join(self.top, "log"), "w+")
        self.bus = Bus(kind, self.top)

    def script(self, name: str) -> str:
        return os.path.join(self.top, name)

    def environ(self) -> dict[str, str]:
        return dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=self.bus.address, RUNTIME_DIRECTORY=self.runtime,
                    CONFIGURATION_DIRECTORY=self.config, MSHARED_TEST_ROOT=self.kernel,
                    MSHARED_TEST_EXECUTABLE=self.donor_program)

    def start(self, notify: bool = False) -> float | None:
        environ = self.environ()
        notifier = None
        if notify:
            path = os.path.join(self.top, "notify")
            if os.path.exists(path):
                os.unlink(path)
            notifier = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notifier.bind(path)
            os.chmod(path, 0o666)
            environ["NOTIFY_SOCKET"] = path
        began = time.monotonic()
        self.daemon = subprocess.Popen(as_user(DAEMON_UID, caps="+chown,+fowner,+dac_read_search,+dac_override") + self.wrapper +
                                       [self.binary], env=environ, stdout=self.log, stderr=self.log)
        if notifier:
            notifier.settimeout(30)
            while b"READY=1" not in notifier.recv(4096):
                pass
            notifier.close()
            return time.monotonic() - began
        self.wait_for_name()
        return None

    def name_is_ours(self) -> bool:
        r = subprocess.run(["busctl", "--address=" + self.bus.address, "call", "org.freedesktop.DBus",
                            "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionUnixProcessID", "s",
                            "org.mshare1"], capture_output=True, text=True)
        return r.stdout.split() == ["u", str(self.running().pid)]

    def wait_for_name(self) -> None:
        """Do not rely on the name alone: the bus may not have noticed yet that the last daemon was killed."""
        daemon = self.running()
        wait_until(lambda: daemon.poll() is not None or self.name_is_ours(), timeout=60, what="org.mshare1")
        assert daemon.poll() is None, "the daemon has gone"

    def running(self) -> "subprocess.Popen[bytes]":
        assert self.daemon, "the daemon has not been started"
        return self.daemon

    def stop(self, sig: int = signal.SIGTERM, expect: int = 0) -> None:
        if not self.daemon:
            return
        if self.daemon.poll() is None:
            self.daemon.send_signal(sig)
        status = self.daemon.wait(60)
        self.daemon = None
        if sig == signal.SIGTERM:
            assert status == expect, "the daemon exited with %d" % status

    def restart(self, sig: int = signal.SIGTERM) -> None:
        self.stop(sig)
        self.start()

    def stop_bus(self) -> None:
        """The bus ends, and the daemon with it."""
        self.bus.stop()
        status = self.running().wait(20)
        self.daemon = None
        assert status == 0, "the daemon exited with %d" % status

    def start_bus(self) -> None:
        """Start both again. Clients of the old bus have lost their connection."""
        self.bus.start()
        self.start()

    def start_polkit(self) -> None:
        template = os.path.join(HERE, "polkit_double.py")
        self.polkit = subprocess.Popen(["/usr/bin/python3", "-m", "dbusmock", "--system", "--template", template],
                                       env=self.environ(), stdout=self.log, stderr=self.log)
        wait_until(lambda: "true" in subprocess.run(
            ["busctl", "--address=" + self.bus.address, "call", "org.freedesktop.DBus", "/org/freedesktop/DBus",
             "org.freedesktop.DBus", "NameHasOwner", "s", "org.freedesktop.PolicyKit1"],
            capture_output=True, text=True).stdout, timeout=20, what="the double of polkit")

    def polkit_do(self, member: str, signature: str = "", *args: Any) -> Any:
        """Call the mock; the result is JSON."""
        cmd = ["busctl", "--address=" + self.bus.address, "--json=short", "call", "org.freedesktop.PolicyKit1",
               "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.DBus.Mock", member]
        if signature:
            cmd += [signature] + list(map(str, args))
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr
        return json.loads(r.stdout)["data"][0] if r.stdout.strip() else None

    def allow(self, *actions: str) -> None:
        self.polkit_do("SetAllowed", "as", len(actions), *actions)

    def client(self, uid: int, gid: int | None = None, groups: Sequence[int] = ()) -> Client:
        c = Client(self, uid, gid, groups)
        self.clients.append(c)
        return c

    # Without writers, the kernel is one that does not count them.
    def usage(self, name: str, sharers: int, resident_kb: int = 0, pgtables_kb: int = 0,
              writers: int | None = None) -> None:
        # In one write, because the daemon may be reading it.
        new = os.path.join(self.kernel, "usage-" + name)
        with open(new, "w") as f:
            f.write("%d %d %d" % (sharers, resident_kb, pgtables_kb))
            if writers is not None:
                f.write(" %d" % writers)
        os.rename(new, os.path.join(self.kernel, "usage", name))

    def access(self, name: str, access: str) -> None:
        with open(os.path.join(self.kernel, "access", name), "w") as f:
            f.write(access)

    def fs(self, name: str) -> str:
        return os.path.join(self.kernel, "fs", name)

    def leases(self) -> list[str]:
        return os.listdir(os.path.join(self.runtime, "leases"))

    def states(self) -> list[str]:
        return [f for f in os.listdir(os.path.join(self.runtime, "regions")) if not f.startswith(".#")]

    def rss_kb(self) -> int:
        with open("/proc/%d/status" % self.running().pid) as f:
            for line in f:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1])
        return 0

    def read_log(self) -> str:
        self.log.flush()
        with open(os.path.join(self.top, "log")) as f:
            return f.read()

    def close(self) -> None:
        for c in self.clients:
            c.kill()
        error: Exception | None = None
        try:
            self.stop()
        except (AssertionError, subprocess.TimeoutExpired) as e:
            error = e
        if self.polkit:
            self.polkit.terminate()
            self.polkit.wait()
        self.bus.stop()
        text = self.read_log()
        shutil.rmtree(self.top, ignore_errors=True)
        for sign in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "ERROR SUMMARY: "):
            for line in text.splitlines():
                if sign in line and "ERROR SUMMARY: 0 errors" not in line:
                    raise AssertionError("valgrind reports errors in the daemon:\n" + text[-6000:])
        if error:
            raise error


def run_tests(tests: Sequence[Callable[[Env], object]], make_env: Callable[[], Env]) -> int:
    """Run the functions and print TAP. Each has its own bus and daemon. Returns the exit status.

    Not unittest or pytest: Meson counts TAP points as they come, and a failure must show the log of its own daemon. unittest
    would need a result class and a runner for that, which are longer than this. pytest needs a plugin for TAP.
    """
    # Meson ends a test that takes too long with SIGTERM; then everything that the test has started ends, too.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    print("1..%d" % len(tests))
    failed = 0
    for i, test in enumerate(tests, 1):
        name = test.__name__.replace("test_", "", 1).replace("_", " ")
        env = None
        text = ""
        try:
            try:
                env = make_env()
                test(env)
            except BaseException:
                text = env.read_log() if env else ""
                raise
            finally:
                if env:
                    env.close()
        except Skip as e:
            print("ok %d - %s # SKIP %s" % (i, name, str(e).replace("\n", " ")))
        except Exception:  # pylint: disable=broad-except
            import traceback
            failed += 1
            print("not ok %d - %s" % (i, name))
            for line in (traceback.format_exc() + "\n" + text[-3000:]).splitlines():
                print("# " + line)
        else:
            print("ok %d - %s" % (i, name))
        sys.stdout.flush()
    return 1 if failed else 0
