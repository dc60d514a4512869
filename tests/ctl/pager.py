#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A pager gives no shell to users that may only read: pager.py MSHARECTL SESSION-DOUBLE"""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

msharectl, session_double = sys.argv[1:3]
top = Path(tempfile.mkdtemp())
results = []


def program(name, text):
    path = top / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


# The pagers report that they ran, and in which mode.
(top / "bin").mkdir()
program("bin/less", f'echo "less secure=${{LESSSECURE:-no}} less=$LESS" >>{top}/said; exec cat')
program("pager", f'echo "pager secure=${{LESSSECURE:-no}}" >>{top}/said; exec cat')


# keys: sent when it waits. Secure less reads the text after "!" as commands of its own, one of which opens the help.
def on_terminal(keys=b"", path=f"{top}/bin:{os.environ['PATH']}", **settings):
    """What msharectl's pager reported, in a terminal of 10 lines with the given environment."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("PAGER", "SYSTEMD_PAGER", "SYSTEMD_PAGERSECURE", "LESS", "LESSSECURE", "SYSTEMD_LESS")}
    environment |= {"PATH": path, "TERM": "vt100", "LD_PRELOAD": session_double,
                    "ASAN_OPTIONS": "verify_asan_link_order=0"} | settings
    said = top / "said"
    said.unlink(missing_ok=True)
    pid, fd = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 80, 0, 0))
        os.execve(msharectl, [msharectl, "status", "region"], environment)
    shown = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 0.3)[0]:
            try:
                data = os.read(fd, 4096)
            except OSError:
                break
            if not data:
                break
            shown += data
        elif keys:
            # It waits for input.
            key, keys = keys[:1], keys[1:]
            if key == b"!":
                line, _, keys = keys.partition(b"\n")
                key += line + b"\n"
            os.write(fd, key)
    else:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(fd)
    return said.read_text(encoding="utf-8").strip() if said.exists() else "", shown.decode(errors="replace")


def check(what, good, detail):
    results.append(good)
    print("ok" if good else "not ok", len(results), "-", what)
    if not good:
        print("#", repr(detail))


me, other = str(os.geteuid()), str(os.geteuid() + 1)
os.system(f"{msharectl} create -q region 1M")

said, shown = on_terminal(SESSION_UID=me)
check("the session's user has the usual pager", said == "less secure=no less=FRSXMK" and "region" in shown, said)
said, _ = on_terminal(SESSION_UID=me, PAGER=str(top / "pager"), LESSSECURE="1")
check("or his own", said == "pager secure=no", said)
said, _ = on_terminal(SESSION_UID=me, PAGER="false", SYSTEMD_PAGER=str(top / "pager"))
check("or that of systemd's tools", said == "pager secure=no", said)
said, _ = on_terminal(SESSION_UID=me, LESS="-X --lesskey-src=/evil", SYSTEMD_LESS="-FX")
check("with options for less", said == "less secure=no less=-FX", said)
for session in ({"SESSION_UID": other}, {}):
    whose = "another user's session" if session else "no session"
    said, shown = on_terminal(**session)
    check(f"in {whose} less is in its secure mode", said == "less secure=1 less=FRSXMK" and "region" in shown, said)
    said, _ = on_terminal(PAGER=str(top / "pager"), SYSTEMD_PAGER=str(top / "pager"), LESS="x", SYSTEMD_LESS="y", **session)
    check(f"in {whose} no variable names another pager or its options", said == "less secure=1 less=FRSXMK", said)
said, _ = on_terminal(PAGER=str(top / "pager"), SYSTEMD_PAGERSECURE="1")
check("SYSTEMD_PAGERSECURE=1 allows it, in secure mode", said == "pager secure=1", said)
said, _ = on_terminal(PAGER=str(top / "pager"), SYSTEMD_PAGERSECURE="no")
check("SYSTEMD_PAGERSECURE=no allows it", said == "pager secure=no", said)
said, _ = on_terminal(PAGER=str(top / "pager"), SYSTEMD_PAGERSECURE="perhaps")
check("any other value does not", said == "less secure=1 less=FRSXMK", said)

if shutil.which("less"):
    proof = top / "shell"
    _, shown = on_terminal(keys=f"!touch {proof}\n\nqqqqq".encode(), path=os.environ["PATH"])
    check("less runs no command", not proof.exists() and "region" in shown, shown)
else:
    results.append(True)
    print("ok", len(results), "- less runs no command # SKIP less is not installed")

shutil.rmtree(top)
print(f"1..{len(results)}")
sys.exit(0 if all(results) else 1)
