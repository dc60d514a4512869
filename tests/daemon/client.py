# SPDX-License-Identifier: LGPL-2.1-or-later
"""A bus client: one JSON command per line on standard input, one JSON answer per line on standard output."""

import fcntl
import json
import os
import socket
import struct
import sys
import time
from typing import Any

import dbus
import dbus.bus
import dbus.lowlevel

# One line of standard input.
Command = dict[str, Any]

# The types of the options that are not strings.
OPTION_TYPES = {
    "address": dbus.UInt64, "uid": dbus.UInt32, "gid": dbus.UInt32, "populate": dbus.Boolean, "linger": dbus.UInt64,
    "force": dbus.Boolean, "maximum": dbus.UInt64, "final-mode": dbus.UInt32,
}


class State:
    def __init__(self) -> None:
        self.bus: Any = None        # of python3-dbus
        self.gio: Any = None        # of GLib
        self.raw: Any = None        # of no library
        self.fds: dict[int, int] = {}
        self.n = 0

    def connect(self) -> Any:
        if not self.bus:
            self.bus = dbus.bus.BusConnection(os.environ["DBUS_SYSTEM_BUS_ADDRESS"])
        return self.bus

    def keep(self, fd: int) -> int:
        self.n += 1
        self.fds[self.n] = fd
        return self.n


def plain(state: State, v: Any) -> Any:
    if isinstance(v, dbus.types.UnixFd):
        fd = v.take()
        os.set_inheritable(fd, False)
        return state.keep(fd)
    if isinstance(v, dbus.Boolean):
        return bool(v)
    if isinstance(v, dbus.Double):
        return float(v)
    if isinstance(v, (dbus.String, dbus.ObjectPath)):
        return str(v)
    if isinstance(v, (tuple, list, dbus.Struct, dbus.Array)):
        return [plain(state, x) for x in v]
    if isinstance(v, dict):
        return {str(k): plain(state, x) for k, x in v.items()}
    return int(v)


def option(state: State, key: str, value: Any) -> Any:
    if isinstance(value, dict):  # a value of a wrong type: {"type": ..., "value": ...}
        return getattr(dbus, value["type"])(value["value"])
    if key == "fd":
        return dbus.types.UnixFd(state.fds[value])
    return OPTION_TYPES.get(key, dbus.String)(value)


def message(state: State, c: Command) -> Any:
    m = dbus.lowlevel.MethodCallMessage(c.get("destination", "org.mshare1"), c["path"], c["interface"], c["member"])
    args = list(c.get("args", []))
    for i, a in enumerate(args):
        if isinstance(a, dict):
            args[i] = dbus.Dictionary({k: option(state, k, v) for k, v in a.items()}, signature="sv")
        elif isinstance(a, str) and a.startswith("fd:"):
            args[i] = dbus.types.UnixFd(state.fds[int(a[3:])])
    if c.get("signature"):
        m.append(*args, signature=c["signature"])
    return m


def do_call(state: State, c: Command) -> Any:
    reply = state.connect().send_message_with_reply_and_block(message(state, c), c.get("timeout", 60))
    result = [plain(state, v) for v in reply.get_args_list()]
    return result[0] if len(result) == 1 else result


def do_flood(state: State, c: Command) -> Any:
    """Send a call many times without reading answers, then leave the bus in the middle of it."""
    m = message(state, c)
    m.set_no_reply(True)
    for _ in range(c["times"]):
        state.connect().send_message(m)
    state.bus.flush()
    state.bus.close()
    state.bus = None
    return True


def do_send(state: State, c: Command) -> Any:
    """Send without waiting for the answer."""
    for _ in range(c.get("times", 1)):
        state.connect().send_message(message(state, c))
    state.bus.flush()
    return True


def do_send_with_fds(state: State, c: Command) -> Any:
    """As do_send(), with descriptors that the message does not mention. python3-dbus cannot do that; GLib can."""
    from gi.repository import Gio, GLib
    if not state.gio:
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
        state.gio = Gio.DBusConnection.new_for_address_sync(os.environ["DBUS_SYSTEM_BUS_ADDRESS"], flags, None, None)
        if c.get("known", True):  # the broker has asked the bus about this connection
            state.gio.call_sync("org.mshare1", "/org/mshare1", "org.mshare1.Manager", "ListRegions", None, None,
                                Gio.DBusCallFlags.NONE, 10000, None)
    fds = Gio.UnixFDList.new()
    for _ in range(c["fds"]):
        fds.append(0)
    for _ in range(c.get("times", 1)):
        m = Gio.DBusMessage.new_method_call("org.mshare1", c["path"], c["interface"], c["member"])
        m.set_body(GLib.Variant(c["signature"], tuple(c["args"])))
        if c["fds"]:
            m.set_unix_fd_list(fds)
        if c.get("interactive"):
            m.set_flags(Gio.DBusMessageFlags.ALLOW_INTERACTIVE_AUTHORIZATION)
        state.gio.send_message(m, Gio.DBusSendMessageFlags.NONE)
    state.gio.flush_sync(None)
    return True


def padded(data: bytes, to: int) -> bytes:
    return data + bytes(-len(data) % to)


def marshal(fields: list[tuple[int, str, str]], body: bytes, serial: int) -> bytes:
    """A method call. A field is its code, its type and its value."""
    array = b""
    for code, kind, value in fields:
        array = padded(array, 8) + bytes([code, 1]) + kind.encode() + b"\0"
        if kind == "g":
            array += bytes([len(value)]) + value.encode() + b"\0"
        else:
            array = padded(array, 4) + struct.pack("<I", len(value)) + value.encode() + b"\0"
    return padded(struct.pack("<cBBBIII", b"l", 1, 0, 1, len(body), serial, len(array)) + array, 8) + body


def do_send_hidden(state: State, c: Command) -> Any:
    """CreateRegion with a header field that is not in the specification, and has many bytes. No library sends that."""
    bus = socket.socket(socket.AF_UNIX)
    bus.connect(os.environ["DBUS_SYSTEM_BUS_ADDRESS"].split("=", 1)[1])
    bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
    assert bus.recv(1000).startswith(b"OK ")
    bus.sendall(b"BEGIN\r\n")
    name = "org.freedesktop.DBus"
    bus.sendall(marshal([(1, "o", "/org/freedesktop/DBus"), (2, "s", name), (3, "s", "Hello"), (6, "s", name)], b"", 1))
    bus.recv(10000)
    region = c["name"].encode() + b"\0"
    body = padded(struct.pack("<I", len(region) - 1) + region, 8) + struct.pack("<QII", 4096, 0o600, 0)
    fields = [(1, "o", "/org/mshare1"), (2, "s", "org.mshare1.Manager"), (3, "s", "CreateRegion"), (6, "s", "org.mshare1"),
              (8, "g", "stua{sv}"), (200, "s", "x" * c["bytes"])]
    for i in range(c["times"]):
        bus.sendall(marshal(fields, body, i + 2))
    state.raw = bus
    return True


def do_many(state: State, c: Command) -> Any:
    """One call after the other; counts the results."""
    counts: dict[str, int] = {}
    for _ in range(c["times"]):
        try:
            do_call(state, c)
            name = "ok"
        except dbus.DBusException as e:
            name = e.get_dbus_name()
        counts[name] = counts.get(name, 0) + 1
    return counts


def do_open(state: State, c: Command) -> Any:
    return state.keep(os.open(c["file"], getattr(os, c.get("flags", "O_RDWR")) | os.O_CLOEXEC))


def do_pipe(state: State, c: Command) -> Any:
    return [state.keep(fd) for fd in os.pipe()]


def do_close(state: State, c: Command) -> Any:
    os.close(state.fds.pop(c["fd"]))
    return True


def do_close_and_call(state: State, c: Command) -> Any:
    os.close(state.fds.pop(c["fd"]))
    return do_call(state, c)


def do_unique_name(state: State, _c: Command) -> Any:
    return state.connect().get_unique_name()


def do_disconnect(state: State, c: Command) -> Any:
    state.bus.close()
    state.bus = None
    return True


def do_fork_hold(state: State, c: Command) -> Any:
    """A child that has the lease by fork and nothing else of this process."""
    pid = os.fork()
    if pid == 0:
        os.close(0)
        os.close(1)
        while True:
            time.sleep(1000)
    return pid


def do_exec_hold(state: State, c: Command) -> Any:
    """A child that inherits the lease by fork, then executes another program."""
    pid = os.fork()
    if pid == 0:
        os.close(0)
        os.close(1)
        os.execvp("sleep", ["sleep", "1000"])
    return pid


def do_kill_child(state: State, c: Command) -> Any:
    os.kill(c["pid"], 9)
    os.waitpid(c["pid"], 0)
    return True


def do_describe(state: State, c: Command) -> Any:
    """The file that a descriptor refers to, and its access mode."""
    st = os.fstat(state.fds[c["fd"]])
    return {"inode": st.st_ino, "access": fcntl.fcntl(state.fds[c["fd"]], fcntl.F_GETFL) & os.O_ACCMODE}


def do_read(state: State, c: Command) -> Any:
    return list(os.read(state.fds[c["fd"]], c["bytes"]))


def do_write(state: State, c: Command) -> Any:
    return os.write(state.fds[c["fd"]], b"x" * c["bytes"])


def main() -> None:
    state = State()
    for line in sys.stdin:
        c = json.loads(line)
        try:
            answer = {"result": globals()["do_" + c["what"]](state, c)}
        except dbus.DBusException as e:
            answer = {"error": e.get_dbus_name(), "message": e.get_dbus_message() or ""}
        except OSError as e:
            answer = {"error": "errno", "message": str(e.errno)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
