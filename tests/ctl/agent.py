#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which agent asks for passwords on a terminal: agent.py MSHARECTL SESSION-DOUBLE

Polkit uses an agent that is registered with --fallback only if the caller has a login session.
"""

import os
import pty
import sys
import tempfile
from pathlib import Path

msharectl, session_double = sys.argv[1:3]
top = Path(tempfile.mkdtemp())
results = []

# It says how it was started, and ends before it has registered itself.
(top / "pkttyagent").write_text(f'#!/bin/sh\necho "$1 $3" >>{top}/said\n', encoding="utf-8")
(top / "pkttyagent").chmod(0o755)


def agent(*arguments, **settings):
    """How the agent was started, or "" if it was not."""
    environment = os.environ | {"PATH": f"{top}:{os.environ['PATH']}", "LD_PRELOAD": session_double, "SESSION_EUID": "1000",
                                "ASAN_OPTIONS": "verify_asan_link_order=0"} | settings
    said = top / "said"
    said.unlink(missing_ok=True)
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(msharectl, [msharectl, "remove", "no-such-region", *arguments], environment)
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass        # The end of a terminal.
    os.waitpid(pid, 0)
    os.close(fd)
    return said.read_text(encoding="utf-8").strip() if said.exists() else ""


def check(what, got, wanted):
    results.append(got == wanted)
    print("ok" if got == wanted else "not ok", len(results), "-", what)
    if got != wanted:
        print(f"# {got!r}, not {wanted!r}")


check("in a login session, the agent of the session goes first", agent(SESSION_OF_PROCESS="c1"), "--notify-fd --fallback")
check("also in a service of the user's manager", agent(SESSION_UID="1000", SESSION_OF_USER="c1"), "--notify-fd --fallback")
check("outside of a session there is no other agent", agent(), "--notify-fd")
check("a service of a user without a session is outside", agent(SESSION_UID="1000"), "--notify-fd")
check("root needs no agent", agent(SESSION_EUID="0"), "")
check("with --no-ask-password there is none", agent("--no-ask-password"), "")
print(f"1..{len(results)}")
sys.exit(not all(results))
