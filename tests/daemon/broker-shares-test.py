#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No user keeps another from a fair share. See promises.py for the arguments."""

import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, GRANULE, LP, MAIL, MAN, NEWS, Skip, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, Monitor, equal, file_of_zeroes, main, refuses  # noqa: E402

ACQUIRE = {"path": "/org/mshare1", "interface": MANAGER_IFACE, "member": "AcquireRegion", "signature": "ssa{sv}"}
CREATE = {"path": "/org/mshare1", "interface": MANAGER_IFACE, "member": "CreateRegion", "signature": "stua{sv}"}


def limit(env, **limits):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\n" + "".join("%s=%d\n" % (k, v) for k, v in limits.items()))


# --- calls that take long ---

SLOW_CALLS = [
    {"path": "/org/mshare1", "interface": MANAGER_IFACE, "member": "ListClients", "signature": "s", "args": ["r"]},
    {"path": "/org/mshare1", "interface": MANAGER_IFACE, "member": "ListRegions"},
    {"path": "/org/mshare1", "interface": "org.freedesktop.DBus.ObjectManager", "member": "GetManagedObjects"},
    {"path": "/org/mshare1", "interface": "org.freedesktop.DBus.Properties", "member": "GetAll", "signature": "s",
     "args": [MANAGER_IFACE]},
    {"path": "/org/mshare1", "interface": "org.freedesktop.DBus.Properties", "member": "Get", "signature": "ss",
     "args": [MANAGER_IFACE, "PageTableBytes"]},
]


class Stopped:
    """The daemon does nothing, so that calls are there in the order in which they were sent."""

    def __init__(self, env):
        self.env = env

    def __enter__(self):
        self.env.running().send_signal(signal.SIGSTOP)

    def __exit__(self, *_):
        # The bus has to pass them on.
        time.sleep(0.5)
        self.env.running().send_signal(signal.SIGCONT)


def answers(monitor, *clients):
    """To whom answers went, in their order."""
    names = {c.do("unique_name"): c for c in clients}
    with open(monitor.file) as f:
        messages = [json.loads(line) for line in f.read().split("\n")[:-1]]
    return [names[m["destination"]] for m in messages
            if m["type"] in ("method_return", "error") and m.get("destination") in names]


def test_calls_that_take_long_do_not_keep_others_waiting(env):
    env.start()
    n = 60
    for slow in SLOW_CALLS:
        root, flood, other, owner = env.client(0), env.client(MAIL), env.client(NEWS), env.client(GAMES)
        if "r" not in root.list():
            root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
        for c in flood, other, owner:
            c.list()
        monitor = Monitor(env)
        with Stopped(env):
            flood.do("send", times=n, **slow)
            time.sleep(0.5)
            other.do("send", **slow)
            time.sleep(0.5)
            owner.do("send", args=["r", "rw", {}], **ACQUIRE)
        wait_until(lambda: len(answers(monitor, flood, other, owner)) == n + 2, timeout=60, what="all answers")
        order = answers(monitor, flood, other, owner)
        monitor.end()
        # Nearly none, but on a slow machine it takes a while to read all those calls, and some have their turn meanwhile.
        for c in owner, other:
            before = order[:order.index(c)].count(flood)
            assert before < n / 3, "%s: %d answers came before the one to user %d" % (slow["member"], before, c.uid)
        for c in flood, other, owner:
            c.kill()


def test_calls_that_take_long_are_limited(env):
    limit(env, PendingCallsPerUserMax=10)
    env.start()
    root, flood = env.client(0), env.client(MAIL)
    flood.list()
    monitor = Monitor(env)
    with Stopped(env):
        flood.do("send", times=40, **SLOW_CALLS[1])
    wait_until(lambda: len(answers(monitor, flood)) == 40, timeout=60, what="all answers")
    messages = [m for m in monitor.end() if m["type"] == "error" and m.get("destination") == flood.do("unique_name")]
    # Some may have had their turn before the last was read.
    assert 15 <= len(messages) <= 30, len(messages)
    for m in messages:
        assert "Limit reached, pending calls of user %d for lists: 10;" % MAIL in str(m["payload"]), m
        assert "PendingCallsPerUserMax" in str(m["payload"]), m
    # The calls of a client that leaves do not count any more.
    for _ in range(3):
        c = env.client(MAIL)
        c.list()
        with Stopped(env):
            c.do("send", times=40, **SLOW_CALLS[1])
            c.kill()
        flood.list()
    equal(root.list(), {})


# --- leases ---

def take_leases(client, name, times):
    """Returns the number of leases that the client got."""
    counts = client.do("many", args=[name, "r", {}], times=times, **ACQUIRE)
    assert set(counts) <= {"ok", "org.mshare1.Error.LimitExceeded"}, counts
    return counts.get("ok", 0)


def test_a_reader_does_not_take_all_leases_of_a_region(env):
    limit(env, LeasesPerRegionMax=40, LeasesPerUserMax=100)
    env.start()
    root, owner = env.client(0), env.client(GAMES)
    path = root.create("db", mode=0o644, uid=GAMES, gid=GAMES)[0]
    # Each gets half of those that are left: 20 of 40, 10 of 20, 5 of 10, 3 of 5, 1 of 2, 1.
    equal([take_leases(env.client(uid), "db", 40) for uid in (MAIL, NEWS, LP, MAN, 2, 3, 10)], [20, 10, 5, 3, 1, 1, 0])
    e = refuses("LimitExceeded", env.client(MAIL).acquire, "db", "r", contains="LeasesPerRegionMax")
    assert "User %d has reached its share of leases of region 'db': 20, with 40 in all;" % MAIL in e.message, e.message
    # Owner and root are not restricted in this way.
    equal((take_leases(owner, "db", 50), take_leases(root, "db", 50)), (40, 40))
    refuses("LimitExceeded", owner.acquire, "db", contains="LeasesPerRegionMax")
    equal(root.get(path, REGION_IFACE, "NClients"), 120)
    # The same after a restart, which counts again.
    env.restart()
    equal(take_leases(env.client(10), "db", 1), 0)
    equal((take_leases(env.client(GAMES), "db", 1), take_leases(env.client(0), "db", 1)), (0, 0))
    owner.kill()
    equal(wait_until(lambda: take_leases(env.client(GAMES), "db", 1), what="the owner's leases to be dropped"), 1)


def test_strangers_do_not_take_all_descriptors(env):
    if env.wrapper:
        raise Skip("the descriptors of valgrind are counted, too")
    # 576 - 256 are for leases, 280 of them for users that do not own the region.
    env.wrapper = ["prlimit", "--nofile=576:576"]
    env.start()
    root, owner = env.client(0), env.client(GAMES)
    root.create("db", mode=0o644, uid=GAMES, gid=GAMES)
    root.create("other", mode=0o644)
    equal([take_leases(env.client(uid), "db", 150) for uid in (MAIL, NEWS, LP)], [140, 70, 35])
    for uid in (MAN, 2, 3, 10, 13, 33):
        take_leases(env.client(uid), "other", 150)
    refuses("LimitExceeded", env.client(34).acquire, "db", "r", contains="LimitNOFILE")
    # In the region of another user, an owner has no privilege either.
    refuses("LimitExceeded", owner.acquire, "other", "r", contains="LimitNOFILE")
    equal(take_leases(owner, "db", 30), 30)
    equal(take_leases(root, "db", 30), 10)
    refuses("LimitExceeded", owner.acquire, "db", "r", contains="LimitNOFILE")
    # Waiting calls have descriptors of their own.
    equal(sorted(owner.list()), ["db", "other"])


# --- questions ---

def report(env):
    return json.loads(env.polkit_do("Report"))


def test_questions_of_some_users_do_not_keep_out_others(env):
    env.start_polkit()
    env.start()
    env.polkit_do("SetHang", "b", "true")
    n = 0
    for i, (uid, places) in enumerate(((GAMES, 16), (MAN, 16), (LP, 16), (MAIL, 8))):
        env.client(uid).do("send", args=["r%d" % i, 4096, 0o600, {}], times=40, **CREATE)
        n += places
        wait_until(lambda: report(env)["in_flight"] == n, what="%d questions" % n)  # pylint: disable=cell-var-from-loop
    env.polkit_do("SetHang", "b", "false")
    env.allow("org.mshare1.create-region")
    env.client(NEWS).create("mine")
    assert report(env)["in_flight_max"] <= 64, report(env)["in_flight_max"]
    env.polkit_do("Release")
    wait_until(lambda: len(report(env)["questions"]) == 161, what="all questions to be asked")
    assert report(env)["in_flight_max"] <= 64, report(env)["in_flight_max"]


def test_dialogs_do_not_keep_out_what_a_rule_answers(env):
    env.start_polkit()
    env.start()
    env.polkit_do("SetHang", "b", "true")
    # Four dialogs for each user, and at most 48 for all users.
    uids = (GAMES, MAN, LP, MAIL, 2, 3, 10, 13, 33, 34, 38, 39, 41)
    known = {int(line.split(":")[2]) for line in open("/etc/passwd")}
    uids = [uid for uid in uids if uid in known]
    for i, uid in enumerate(uids):
        env.client(uid).do("send_with_fds", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion",
                           signature="(stua{sv})", args=["r%d" % i, 4096, 0o600, {}], fds=0, times=20, interactive=True)
        if i == 0:
            wait_until(lambda: report(env)["in_flight"] == 4, what="the first dialogs")
    wait_until(lambda: report(env)["in_flight"] >= min(48, 4 * (len(uids) - 3)), what="the dialogs")
    equal({q["flags"] for q in report(env)["questions"]}, {1})
    by_sender = {}
    for q in report(env)["questions"]:
        by_sender[q["subject"]] = by_sender.get(q["subject"], 0) + 1
    assert max(by_sender.values()) == 4 and sum(by_sender.values()) <= 48, by_sender
    # A user who has four dialogs open gets no fifth, but may do what needs none.
    env.polkit_do("SetHang", "b", "false")
    env.allow("org.mshare1.create-region")
    for i, uid in enumerate((NEWS, GAMES)):
        env.client(uid).create("mine%d" % i)
    equal(report(env)["questions"][-1]["flags"], 0)


# --- descriptors ---

def open_fds(env):
    return len(os.listdir("/proc/%d/fd" % env.daemon.pid))


def test_descriptors_that_no_method_takes_do_not_come_in(env):
    env.start()
    root, owner = env.client(0), env.client(GAMES)
    root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    before = open_fds(env)

    def send(uid, member, signature, args, fds, path="/org/mshare1", interface=MANAGER_IFACE):
        c = env.client(uid)
        c.do("send_with_fds", path=path, interface=interface, member=member, signature=signature, args=args, fds=fds)
        # Wait until the broker has handled everything before this.
        c.do("unique_name")
        owner.list()
        c.kill()

    for fds in (1, 16):
        send(GAMES, "SetRegionMode", "(su)", ["r", 0o400], fds)
        send(GAMES, "RemoveRegion", "(sa{sv})", ["r", {}], fds)
        send(GAMES, "SetMode", "(u)", [0o400], fds, "/org/mshare1/region/r", REGION_IFACE)
    # The bus has not delivered any of them.
    equal(owner.list()["r"]["mode"], 0o600)
    assert open_fds(env) <= before, (open_fds(env), before)
    # A call that takes one descriptor is accepted with one, and not with two.
    fd = root.do("open", file=file_of_zeroes(env, "backing", 1 << 20))
    root.create("file", 1 << 20, backing="file", fd=fd)
    for name, fds in (("two", 2), ("one", 1)):
        env.client(0).do("send_with_fds", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion",
                         signature="(stua{sv})", args=[name, 4096, 0o600, {}], fds=fds)
    wait_until(lambda: "one" in root.list(), what="the call with one descriptor")
    equal(sorted(root.list()), ["file", "one", "r"])


def test_calls_that_wait_have_a_quarter_of_the_descriptors(env):
    if env.wrapper:
        raise Skip("the descriptors of valgrind are counted, too")
    # A bus without our policy.
    env.bus.stop()
    env.bus.policy = ""
    env.bus.start()
    env.wrapper = ["prlimit", "--nofile=1024:1024"]
    env.start_polkit()
    env.start()
    root, owner = env.client(0), env.client(GAMES)
    root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    env.polkit_do("SetHang", "b", "true")
    before = open_fds(env)

    def flood(uid, fds, **kwargs):
        """Many descriptors with each call, although the method takes none."""
        c = env.client(uid)
        c.do("send_with_fds", path="/org/mshare1", interface=MANAGER_IFACE, member="SetRegionMode", signature="(su)",
             args=["r", 0o666], fds=fds, times=8, **kwargs)
        # Calls that cannot be served are refused; the broker's connection stays.
        owner.list()
        return c

    # Those that the arguments do not mention are not kept, whether or not the broker knows the connection.
    several = [flood(uid, fds) for uid in (MAIL, NEWS, LP) for fds in (16, 16, 1)]
    several += [flood(MAIL, 16, known=False) for _ in range(10)]
    wait_until(lambda: open_fds(env) <= before + 20, what="the descriptors to be closed")
    # Those that a method takes are shared out: a user has at most half of a quarter.
    greedy = [env.client(MAIL) for _ in range(3)]
    for c in greedy:
        c.list()
        file = c.do("open", file="/dev/null")
        c.do("send", args=["s", 4096, 0o600, {"backing": "file", "fd": file}], times=80, **CREATE)
    wait_until(lambda: open_fds(env) >= before + 120, what="the calls with descriptors")
    refuses("LimitExceeded", c.manager, "CreateRegion", "stua{sv}", "s", 4096, 0o600, {"backing": "file", "fd": file},
            contains=("LimitNOFILE", "User %d" % MAIL))
    used = open_fds(env) - before
    assert used <= 128 + 20, used
    other = env.client(MAN)
    name = other.do("unique_name")
    other.send("call", args=["t", 4096, 0o600, {"backing": "file", "fd": other.do("open", file="/dev/null")}], **CREATE)
    wait_until(lambda: name in [q["subject"] for q in report(env)["questions"]], what="the other user's question")
    equal(take_leases(owner, "r", 300), 300)
    for c in several + greedy:
        c.kill()
    wait_until(lambda: open_fds(env) < before + 320, what="the descriptors to be closed")
    equal(owner.acquire("r")[1], GRANULE)
    equal(env.daemon.poll(), None)


def test_a_call_that_waits_keeps_its_descriptor(env):
    env.start_polkit()
    env.start()
    env.allow("org.mshare1.create-region")
    # It waits until the bus has identified the connection, and then for polkit.
    c, file = env.client(GAMES), file_of_zeroes(env, "backing", 1 << 20)
    os.chmod(file, 0o666)
    c.create("r", 1 << 20, backing="file", fd=c.do("open", file=file))
    equal(env.client(0).get("/org/mshare1/region/r", REGION_IFACE, "Backing"), "file")


def test_calls_that_wait_are_small(env):
    env.start_polkit()
    env.start()
    env.polkit_do("SetHang", "b", "true")
    before = env.rss_kb()
    c = env.client(GAMES)
    c.do("send_hidden", name="r", bytes=4 << 20, times=12)
    wait_until(lambda: report(env)["in_flight"] == 12, what="the questions about the calls")
    after = env.rss_kb()
    print("# RSS before %d kB, with 12 calls of 4 MiB %d kB" % (before, after))
    # A sanitizer keeps freed memory on purpose.
    with open(env.binary, "rb") as f:
        measurable = not env.wrapper and b"__asan_init" not in f.read()
    assert not measurable or after < before + (16 << 10), (before, after)
    # The caller gets its answers.
    env.allow("org.mshare1.create-region")
    env.polkit_do("Release")
    wait_until(lambda: "r" in env.client(0).list(), what="the region")
    env.client(0).remove("r")


def test_changes_of_one_user_do_not_fill_the_log(env):
    env.start()
    root, flooder = env.client(0), env.client(GAMES)
    root.create("r", 4096, 0o600, uid=GAMES, gid=GAMES)
    root.create("s", 4096)
    began = time.monotonic()
    equal(flooder.do("many", path="/org/mshare1", interface=MANAGER_IFACE, member="SetRegionMode", signature="su",
                     args=["r", 0o400], times=520), {"ok": 520})
    for mode in range(0o400, 0o410):
        os.chmod(env.fs("r"), mode)
        root.list()
    root.manager("SetRegionMode", "su", "s", 0o640)
    log = env.read_log()
    if time.monotonic() - began > 55:
        raise Skip("the machine is too slow for this")
    equal((log.count("Mode of region r set"), log.count("Region r was changed in msharefs")), (500, 0))
    equal(log.count("Changes by user %d: more than 500 in 60 s; not logging more" % GAMES), 1)
    equal(log.count("Mode of region s set from 0600 to 0640, by user 0"), 1)
    # Nor do its questions to polkit, which is not there.
    equal(flooder.do("many", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
                     args=["t", 4096, 0o600, {}], times=10), {"org.freedesktop.DBus.Error.AccessDenied": 10})
    equal(env.read_log().count("polkit failed"), 0)
    # Nor that it suspends its region and leaves.
    mode = root.list()["r"]["mode"]
    flooder.manager("SuspendRegion", "su", "r", 0o600)
    equal(root.list()["r"]["mode"], 0)
    flooder.do("disconnect")
    wait_until(lambda: root.list()["r"]["mode"] == mode, what="the end of the suspension")
    equal(env.read_log().count("was populating"), 0)


if __name__ == "__main__":
    sys.exit(main(globals()))
