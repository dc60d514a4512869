#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Donors: what is left when one of them or its broker is killed, and what other users can see of them.

See promises.py for the arguments.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import DAEMON_UID, GAMES, MAIL, BusError, Skip, TiB, as_user, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, equal, main, make_by_hand, refuses  # noqa: E402


PTRACE_SEIZE = 0x4206
WALL = 0x40000000  # of waitpid(): also for a process that is only traced


def run_donors_by(env, script):
    """From now on, the broker starts a donor by this shell script, in which $MSHARED is the program."""
    path = env.script("donor.sh")
    with open(path, "w") as f:
        f.write("#!/bin/sh\nMSHARED=%s\n%s\n" % (env.binary, script))
    os.chmod(path, 0o755)
    env.donor_program = path


def kill_broker_during_creation(env, donor_is_there):
    env.start()
    env.client(0).send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
                       args=["r", 4 << 20, 0o640, {"populate": True}])
    wait_until(lambda: donor_of(env), what="the donor")
    wait_until(donor_is_there, what="the donor to be where it waits")
    env.stop(signal.SIGKILL)


def kill_broker_during_mshare(env):
    """
    The donor goes on: the kernel does not interrupt it, and here it is a child of the process that gets the signal. Returns
    the file that holds it.
    """
    held = env.kernel + "/hold-mshare"
    run_donors_by(env, '"$MSHARED" "$@"')
    open(held, "w").close()
    kill_broker_during_creation(env, lambda: os.path.exists(env.kernel + "/held"))
    return held


def nothing_is_left(env):
    return (os.listdir(env.kernel + "/fs"), env.states(), env.client(0).list()) == ([], [], {})


def left_alone(env, **expected):
    st = os.stat(env.fs("r"))
    with open(env.fs("r"), "rb") as f:
        start = int.from_bytes(f.read(8), "little")
    equal({"uid": st.st_uid, "mode": st.st_mode & 0o777, "start": start}, expected)


def test_a_region_that_takes_the_name_of_one_that_is_created_is_left_alone(env):
    env.start()
    root, other = env.client(0), env.client(0)
    for mode in (0, 0o604):
        # The creation fails when it is done,
        start_donor(env, root)
        make_by_hand(env, "r", 46 * TiB, mode=mode)
        os.unlink(env.kernel + "/available")
        refuses("Failed", root.receive, contains="was changed by another process")
        left_alone(env, uid=GAMES, mode=mode, start=46 * TiB)
        os.unlink(env.fs("r"))
        # it is cancelled,
        start_donor(env, root)
        make_by_hand(env, "r", 46 * TiB, mode=mode)
        other.remove("r")
        refuses("NoSuchRegion", root.receive)
        left_alone(env, uid=GAMES, mode=mode, start=46 * TiB)
        os.unlink(env.fs("r"))
        # or the broker is killed. At the next start the region is adopted.
        for start in (44 * TiB, 46 * TiB):
            if mode != 0 and start == 44 * TiB:
                continue
            start_donor(env, root)
            env.stop(signal.SIGKILL)
            make_by_hand(env, "r", start, mode=mode)
            env.start()
            left_alone(env, uid=GAMES, mode=mode, start=start)
            assert "Region r is not the one that was being created; discarding its state" in log_of(env)
            root, other = env.client(0), env.client(0)
            equal((other.list()["r"]["uid"], other.get("/org/mshare1/region/r", REGION_IFACE, "Creator")), (GAMES, 2**32 - 1))
            other.remove("r")


def log_of(env):
    with open(env.log.name) as f:
        return f.read()


def test_a_donor_that_begins_after_its_broker_was_killed_makes_nothing(env):
    """The signal that the kernel sends when the broker dies comes too early for it."""
    late = env.script("late")
    open(late, "w").close()
    run_donors_by(env, 'while [ -e %s ]; do sleep 0.05; done; exec "$MSHARED" "$@"' % late)
    kill_broker_during_creation(env, lambda: True)
    threading.Timer(1, os.unlink, [late]).start()
    env.start()
    assert not os.path.exists(late), "the broker did not wait for the donor"
    assert nothing_is_left(env)
    assert "left incomplete" not in log_of(env)


def test_a_donor_in_a_system_call_is_waited_for(env):
    held = kill_broker_during_mshare(env)
    threading.Timer(1, os.unlink, [held]).start()
    env.start()
    assert not os.path.exists(held), "the broker did not wait for the donor"
    assert nothing_is_left(env)
    assert "left incomplete" in log_of(env)


def test_a_donor_that_cannot_be_killed_does_not_stop_the_next_broker(env):
    held = kill_broker_during_mshare(env)
    env.start()
    assert os.path.exists(held)
    assert "A donor of the last run does not exit" in log_of(env)
    # Its region comes later.
    os.unlink(held)
    wait_until(lambda: "left incomplete" in log_of(env), what="the region to be found")
    wait_until(lambda: nothing_is_left(env), what="the region to be removed")


def test_a_second_broker_does_not_touch_what_the_first_creates(env):
    env.start()
    root, other = env.client(0), env.client(0)
    start_donor(env, root)
    log = open(env.script("second.log"), "w+")
    second = subprocess.Popen(as_user(DAEMON_UID, caps="+chown,+fowner,+dac_read_search,+dac_override") + [env.binary],
                              env=env.environ(), stdout=log, stderr=log)
    try:
        wait_until(lambda: "Waiting for another mshared" in open(log.name).read(), what="the second broker to wait")
        equal(second.poll(), None)
    finally:
        second.kill()
        second.wait()
    assert os.path.exists(env.fs("r")), "the region that is being created is gone"
    equal(env.states(), ["r"])
    os.unlink(env.kernel + "/available")
    root.receive()
    equal(list(other.list()), ["r"])
    root.remove("r")


def donor_of(env):
    """The processes that create regions for the daemon."""
    with open("/proc/%d/task/%d/children" % (env.daemon.pid, env.daemon.pid)) as f:
        return [int(pid) for pid in f.read().split()]


def start_donor(env, root, name="r"):
    """Start a creation that waits for memory. Returns the donor's pid."""
    with open(env.kernel + "/available", "w") as f:
        f.write("0")
    root.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
              args=[name, 64 << 20, 0o600, {"populate": True, "address": 44 * TiB}])
    wait_until(lambda: os.path.exists(env.fs(name)), what="the donor to make the file")
    return donor_of(env)[-1]


def test_a_donor_does_not_reveal_where_its_region_is(env):
    env.start()
    root, other = env.client(0), env.client(0)
    pid = start_donor(env, root)
    seen = subprocess.run(["setpriv", "--reuid=%d" % MAIL, "--clear-groups", "cat", "/proc/%d/cmdline" % pid],
                          capture_output=True).stdout
    # Only what an administrator looks for: the rest comes through a pipe.
    assert seen.endswith(b"\0--donor\0r\0"), seen
    assert (b"%d" % (44 * TiB)) not in seen and (b"%x" % (44 * TiB)) not in seen, seen
    for file in ("environ", "maps"):
        r = subprocess.run(["setpriv", "--reuid=%d" % MAIL, "--clear-groups", "cat", "/proc/%d/%s" % (pid, file)],
                           capture_output=True)
        assert r.returncode != 0, r.stdout
    other.remove("r")
    refuses("NoSuchRegion", root.receive)


def test_a_donor_needs_its_whole_message_and_no_more(env):
    message, changed = env.kernel + "/message", env.kernel + "/changed"
    run_donors_by(env, "")
    env.start()
    root = env.client(0)
    changes = (
        ("nothing at all", ":", "r"),
        ("its beginning", "head -c 100 %s" % message, "r"),
        ("a byte less", "head -c -1 %s" % message, "r"),
        ("a byte more", "cat %s; echo" % message, "r"),
        ("for another region", "cat %s" % message, "q"),
        ("damaged", "tr '\\000' '\\377' < %s" % message, "r"),
    )
    for i, (what, change, name) in enumerate(changes, 1):
        run_donors_by(env, 'cat <&4 > %s\n{ %s; } > %s\nexec "$MSHARED" --donor %s 4< %s' % (message, change, changed, name,
                                                                                     changed))
        refuses("Failed", root.create, "r", populate=True, contains="was killed")
        assert nothing_is_left(env), what
        equal((what, log_of(env).count("is for internal use by mshared.")), (what, i))
    # In two pieces, it is the same message.
    run_donors_by(env, 'cat <&4 > %s\n{ head -c 7 %s; sleep 0.3; tail -c +8 %s; } | "$MSHARED" "$@" 4<&0' % (
        message, message, message))
    root.create("r", populate=True)
    equal(root.list()["r"]["state"], "ready")
    root.remove("r")


def test_who_removes_what_is_being_removed_is_told(env):
    env.start()
    root, first, second = env.client(0), env.client(0), env.client(0)
    pid = start_donor(env, root)
    # It must be gone before the first answer.
    os.kill(pid, signal.SIGSTOP)
    env.daemon.send_signal(signal.SIGSTOP)
    for c in (first, second):
        c.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="RemoveRegion", signature="sa{sv}",
               args=["r", {}])
        time.sleep(0.2)
    env.daemon.send_signal(signal.SIGCONT)
    answers = []
    for c in (first, second):
        try:
            answers.append(c.receive())
        except BusError as e:
            assert e.is_("RegionNotReady") or e.is_("NoSuchRegion"), e
            if e.is_("RegionNotReady"):
                assert "is already being removed" in e.message, e
    equal(len(answers), 1)
    refuses("NoSuchRegion", root.receive)
    equal(root.list(), {})


def test_a_donor_that_is_killed_leaves_nothing(env):
    env.start()
    root, other = env.client(0), env.client(0)
    daemon = env.daemon.pid
    for sig in (signal.SIGKILL, signal.SIGTERM):
        os.kill(start_donor(env, root), sig)
        refuses("Failed", root.receive, contains=("'r'", "was killed"))
        equal((os.listdir(env.kernel + "/fs"), env.states(), other.list(), donor_of(env)), ([], [], {}, []))
    os.unlink(env.kernel + "/available")
    root.create("r", populate=True)
    equal(env.daemon.poll(), None)
    equal(env.daemon.pid, daemon)


def test_a_broker_that_is_stopped_does_not_wait_for_ever_for_a_donor(env):
    env.start()
    root, other = env.client(0), env.client(0)
    pid = start_donor(env, root)
    # While another process traces it, a process that was killed has not exited for its parent.
    if ctypes.CDLL(None, use_errno=True).ptrace(PTRACE_SEIZE, pid, None, None) != 0:
        raise Skip("no ptrace here")
    try:
        env.running().terminate()
        equal(env.running().wait(20), 0)
    finally:
        os.waitpid(pid, WALL)
    env.daemon = None
    assert "and the donor does not exit" in env.read_log()
    os.unlink(env.kernel + "/available")
    env.start()
    assert nothing_is_left(env)
    other.create("r")


if __name__ == "__main__":
    sys.exit(main(globals()))
