# SPDX-License-Identifier: LGPL-2.1-or-later
"""A polkit for dbusmock that records the questions, and answers late, never, or with a challenge on demand."""

import json
from collections.abc import Callable
from typing import Any

import dbus
from gi.repository import GLib

from dbusmock import MOCK_IFACE

BUS_NAME = "org.freedesktop.PolicyKit1"
MAIN_OBJ = "/org/freedesktop/PolicyKit1/Authority"
MAIN_IFACE = "org.freedesktop.PolicyKit1.Authority"
SYSTEM_BUS = True


def load(mock: Any, _parameters: Any) -> None:
    mock.allowed = []
    mock.delay_ms = 0
    mock.hang = False
    mock.deaf = False
    mock.challenge = False
    mock.questions = []
    mock.waiting = []
    mock.in_flight = 0
    mock.in_flight_max = 0
    mock.cancelled = []


def finish(self: Any, ok_cb: Callable[..., None], action: str) -> bool:
    self.in_flight -= 1
    ok_cb((action in self.allowed, self.challenge and action not in self.allowed, {}))
    return False


@dbus.service.method(MAIN_IFACE, in_signature="(sa{sv})sa{ss}us", out_signature="(bba{ss})",
                     async_callbacks=("ok_cb", "err_cb"))
def CheckAuthorization(self: Any, subject: Any, action: str, details: Any, flags: int, cancellation: str,
                       ok_cb: Callable[..., None], err_cb: Callable[..., None]) -> None:
    self.questions.append({"subject": str(subject[1]["name"]), "kind": str(subject[0]), "action": str(action),
                           "details": {str(k): str(v) for k, v in details.items()}, "flags": int(flags),
                           "id": str(cancellation)})
    self.in_flight += 1
    self.in_flight_max = max(self.in_flight_max, self.in_flight)
    if self.hang:
        self.waiting.append((ok_cb, err_cb, action, str(cancellation)))
    elif self.delay_ms:
        GLib.timeout_add(self.delay_ms, finish, self, ok_cb, action)
    else:
        finish(self, ok_cb, action)


@dbus.service.method(MAIN_IFACE, in_signature="s", out_signature="")
def CancelCheckAuthorization(self: Any, cancellation: str) -> None:
    self.cancelled.append(str(cancellation))
    for question in [] if self.deaf else [q for q in self.waiting if q[3] == str(cancellation)]:
        self.waiting.remove(question)
        self.in_flight -= 1
        question[1](dbus.exceptions.DBusException("cancelled", name="org.freedesktop.PolicyKit1.Error.Cancelled"))


@dbus.service.method(MOCK_IFACE, in_signature="as", out_signature="")
def SetAllowed(self: Any, actions: list[str]) -> None:
    self.allowed = [str(a) for a in actions]


@dbus.service.method(MOCK_IFACE, in_signature="u", out_signature="")
def SetDelay(self: Any, ms: int) -> None:
    self.delay_ms = int(ms)


@dbus.service.method(MOCK_IFACE, in_signature="b", out_signature="")
def SetHang(self: Any, hang: bool) -> None:
    self.hang = bool(hang)


@dbus.service.method(MOCK_IFACE, in_signature="b", out_signature="")
def SetDeaf(self: Any, deaf: bool) -> None:
    """Cancellations are not read, either."""
    self.deaf = bool(deaf)


@dbus.service.method(MOCK_IFACE, in_signature="b", out_signature="")
def SetChallenge(self: Any, challenge: bool) -> None:
    self.challenge = bool(challenge)


@dbus.service.method(MOCK_IFACE, in_signature="", out_signature="")
def Release(self: Any) -> None:
    waiting, self.waiting = self.waiting, []
    for ok_cb, _err_cb, action, _cancellation in waiting:
        finish(self, ok_cb, action)


@dbus.service.method(MOCK_IFACE, in_signature="", out_signature="s")
def Report(self: Any) -> str:
    """All questions so far, as JSON."""
    return json.dumps({"questions": self.questions, "in_flight": self.in_flight, "in_flight_max": self.in_flight_max,
                       "cancelled": self.cancelled})
