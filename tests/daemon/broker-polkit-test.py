#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Modes and polkit: who may use a region, what polkit is asked, and the effect of its answers.

See promises.py for the arguments.
"""

import json
import os
import pwd
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, GRANULE, LP, MAIL, MAN, NEWS, TiB, wait_until  # noqa: E402
from promises import (MANAGER_IFACE, REGION_IFACE, SOURCE, equal, get_acl, main, make_by_hand, refuses,  # noqa: E402
                      set_acl, start_real_polkit)


def test_mode_bits_decide_without_polkit(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o640, uid=GAMES, gid=MAN)
    owner, member, stranger = env.client(GAMES), env.client(LP, LP, (LP, MAN)), env.client(MAIL)
    owner.acquire("r", "rw")
    owner.acquire("r", "r")
    member.acquire("r", "r")
    # There is no polkit on the bus: the answer is no, with the reason.
    refuses("AccessDenied", member.acquire, "r", "rw", contains="no polkit")
    refuses("AccessDenied", stranger.acquire, "r", "r")
    root.manager("SetRegionMode", "su", "r", 0o604)
    refuses("AccessDenied", member.acquire, "r", "r")
    stranger.acquire("r", "r")
    root.acquire("r", "rw")
    equal(root.list()["r"]["clients"], 5)


def test_no_caller_gets_to_write_where_the_kernel_refuses_it(env):
    env.start_polkit()
    make_by_hand(env, "early", 50 * TiB, "r")
    env.start()
    make_by_hand(env, "late", 51 * TiB, "r", 0o444)
    make_by_hand(env, "usual", 52 * TiB, "rw")
    make_by_hand(env, "untold", 53 * TiB)
    root, owner, stranger = env.client(0), env.client(GAMES), env.client(MAIL)
    root.create("made", mode=0o666)
    wait_until(lambda: len(root.list()) == 5, what="the adoption")
    env.allow("org.mshare1.acquire-region")
    # The same after a restart, with or without a state file.
    for _ in range(2):
        for name in ("early", "late"):
            path = "/org/mshare1/region/" + name
            said = ("'%s'" % name, "O_CREAT|O_RDONLY", "everyone")
            equal(owner.get(path, REGION_IFACE, "Access"), "r")
            for c in (root, owner, stranger):
                refuses("AccessDenied", c.acquire, name, "rw", contains=said)
                refuses("AccessDenied", c.open, name, "rw", contains=said)
                refuses("AccessDenied", c.region, path, "Acquire", "sa{sv}", "rw", {}, contains=said)
                c.acquire(name, "r")
            equal(get_acl(env.fs(name)), None)
        for name in ("usual", "untold", "made"):
            equal(owner.get("/org/mshare1/region/" + name, REGION_IFACE, "Access"), "rw")
            stranger.acquire(name, "rw")
        equal(json.loads(env.polkit_do("Report"))["questions"], [])
        env.restart(signal.SIGKILL)
    # The next region with that name is another region.
    os.unlink(env.fs("early"))
    wait_until(lambda: "early" not in root.list(), what="the loss")
    make_by_hand(env, "early", 50 * TiB, "rw")
    wait_until(lambda: "early" in root.list(), what="the adoption")
    stranger.acquire("early", "rw")


def test_addresses_are_shown_to_those_who_may_acquire(env):
    env.start()
    root = env.client(0)
    path, address, length = root.create("r", mode=0o640, uid=GAMES, gid=MAN)
    stranger, owner = env.client(MAIL), env.client(GAMES)
    for c, want in ((root, (address, length)), (owner, (address, length)), (stranger, (0, 0))):
        row = c.list()["r"]
        equal((row["address"], row["length"]), want)
        equal((row["uid"], row["mode"]), (GAMES, 0o640))
        equal(c.get(path, REGION_IFACE, "Address"), want[0])
        objects = c.do("call", path="/org/mshare1", interface="org.freedesktop.DBus.ObjectManager",
                       member="GetManagedObjects")
        equal(objects[path][REGION_IFACE]["Address"], want[0])
        equal(objects[path][REGION_IFACE]["Length"], want[1])


def test_addresses_are_not_found_out_by_trying(env):
    env.start_polkit()
    env.start()
    root, stranger = env.client(0), env.client(MAIL)
    root.create("r", mode=0o600, address=44 * TiB)
    said = set()
    for address in (44 * TiB, 44 * TiB + GRANULE):
        said.add(refuses("AccessDenied", stranger.create, "s", 4096, 0o600, address=address).message)
    equal(len(said), 1)
    root.create("all", 21 * TiB, backing="empty")
    refuses("AccessDenied", stranger.create, "s", 21 * TiB, 0o600)
    # A caller that may create regions gets the reason why an address is refused.
    env.allow("org.mshare1.create-region")
    refuses("AddressInUse", stranger.create, "s", 4096, 0o600, address=44 * TiB, contains="another region")
    stranger.create("s", 4096, 0o600, address=44 * TiB + GRANULE)


def test_owners_set_modes_and_remove_and_others_do_not(env):
    env.start_polkit()
    env.start()
    root, owner, stranger = env.client(0), env.client(GAMES), env.client(MAIL)
    path = root.create("r", mode=0o666, uid=GAMES, gid=GAMES)[0]
    owner.manager("SetRegionMode", "su", "r", 0o660)
    owner.region(path, "SetMode", "u", 0o640)
    equal(os.stat(env.fs("r")).st_mode & 0o777, 0o640)
    refuses("AccessDenied", stranger.manager, "SetRegionMode", "su", "r", 0o666)
    refuses("AccessDenied", stranger.remove, "r")
    refuses("AccessDenied", stranger.region, path, "Remove", "a{sv}", {})
    refuses("AccessDenied", stranger.manager, "SetRegionOwner", "suu", "r", MAIL, MAIL)
    refuses("AccessDenied", owner.manager, "SetRegionOwner", "suu", "r", MAIL, MAIL)
    equal((os.stat(env.fs("r")).st_uid, os.stat(env.fs("r")).st_mode & 0o777), (GAMES, 0o640))
    env.allow("org.mshare1.set-mode", "org.mshare1.set-owner")
    stranger.manager("SetRegionMode", "su", "r", 0o644)
    stranger.manager("SetRegionOwner", "suu", "r", LP, 2**32 - 1)
    st = os.stat(env.fs("r"))
    equal((st.st_uid, st.st_gid, st.st_mode & 0o777), (LP, GAMES, 0o644))
    refuses("AccessDenied", owner.remove, "r")
    env.client(LP).remove("r")


def test_polkit_is_asked_with_details(env):
    env.start_polkit()
    env.start()
    c = env.client(GAMES)
    refuses("AccessDenied", c.create, "r", 4096, 0o600, contains="org.mshare1.create-region")
    equal(c.list(), {})
    env.allow("org.mshare1.set-owner")
    c.create("r", 8192, 0o664, uid=LP, gid=MAIL, backing="memfd")
    questions = json.loads(env.polkit_do("Report"))["questions"]
    equal([q["action"] for q in questions], ["org.mshare1.create-region", "org.mshare1.set-owner"])
    equal(questions[-1]["details"], {"region": "r", "mode": "0664", "owner": str(LP), "group": str(MAIL),
                                     "size": "8192", "backing": "memfd"})
    equal({q["kind"] for q in questions}, {"system-bus-name"})
    assert all(q["subject"].startswith(":") for q in questions)
    equal({q["flags"] for q in questions}, {0})
    # polkit is not asked about root.
    env.client(0).create("s")
    equal(len(json.loads(env.polkit_do("Report"))["questions"]), len(questions))


def test_authentication_is_asked_for_only_if_the_call_allows_it(env):
    env.start_polkit()
    env.start()
    c = env.client(GAMES)
    env.polkit_do("SetChallenge", "b", "true")
    refuses("InteractiveAuthorizationRequired", c.create, "r")
    r = subprocess.run(["setpriv", "--reuid=%d" % GAMES, "--clear-groups", "busctl", "--address=" + env.bus.address,
                        "--allow-interactive-authorization=yes", "call", "org.mshare1", "/org/mshare1", MANAGER_IFACE,
                        "CreateRegion", "stua{sv}", "r", "4096", "384", "0"], capture_output=True, text=True)
    assert r.returncode != 0 and "denied" in r.stderr, r.stderr
    equal([q["flags"] for q in json.loads(env.polkit_do("Report"))["questions"]], [0, 1])


def test_polkit_yes_admits_where_the_mode_does_not(env):
    env.start_polkit()
    env.start()
    root, stranger = env.client(0), env.client(MAIL)
    path, address, length = root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    set_acl(env.fs("r"), (1, 6, None), (4, 0, None), (32, 0, None))
    env.allow("org.mshare1.acquire-region")
    stranger.acquire("r", "r")
    assert (2, 4, MAIL) in get_acl(env.fs("r")), get_acl(env.fs("r"))
    env.allow()
    stranger.acquire("r", "r")
    # Only callers that may acquire it see its address: the group's bits of the mode are now the mask of the list.
    equal(root.list()["r"]["mode"], 0o640)
    for c, want in ((stranger, address), (env.client(NEWS), 0), (env.client(LP, GAMES, (GAMES,)), 0)):
        equal(c.list()["r"]["address"], want)
        equal(c.get(path, REGION_IFACE, "Address"), want)
    refuses("AccessDenied", stranger.acquire, "r", "rw")
    refuses("AccessDenied", env.client(NEWS).acquire, "r", "r")
    refuses("AccessDenied", env.client(LP, GAMES, (GAMES,)).acquire, "r", "r")
    env.stop()
    env.start()
    stranger = env.client(MAIL)
    stranger.acquire("r", "r")
    refuses("AccessDenied", stranger.acquire, "r", "rw")
    # A second permission adds to the first. Permissions that a mask has removed do not come back.
    set_acl(env.fs("r"), (1, 6, None), (2, 4, MAIL), (2, 6, LP), (4, 6, None), (16, 4, None), (32, 0, None))
    env.allow("org.mshare1.acquire-region")
    stranger.acquire("r", "rw")
    env.allow()
    refuses("AccessDenied", env.client(LP).acquire, "r", "rw")
    refuses("AccessDenied", env.client(NEWS, GAMES, (GAMES,)).acquire, "r", "rw")
    env.client(NEWS, GAMES, (GAMES,)).acquire("r", "r")
    # After the mode has been set, it decides alone.
    env.client(GAMES).manager("SetRegionMode", "su", "r", 0o640)
    equal(get_acl(env.fs("r")), None)
    equal(env.client(0).list()["r"]["mode"], 0o640)
    refuses("AccessDenied", stranger.acquire, "r", "r")
    env.client(NEWS, GAMES, (GAMES,)).acquire("r", "r")
    # For the owner, the kernel uses only the mode.
    env.client(GAMES).manager("SetRegionMode", "su", "r", 0o400)
    env.allow("org.mshare1.acquire-region")
    refuses("AccessDenied", env.client(GAMES).acquire, "r", "rw", contains="does not admit its owner")
    equal(get_acl(env.fs("r")), None)


def test_who_is_refused_by_a_limit_is_in_no_access_list(env):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nLeasesPerRegionMax=1\n")
    env.start_polkit()
    env.start()
    root = env.client(0)
    root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    set_acl(env.fs("r"), (1, 6, None), (4, 0, None), (32, 0, None))
    before = get_acl(env.fs("r"))
    env.client(GAMES).acquire("r")
    env.allow("org.mshare1.acquire-region")
    refuses("LimitExceeded", env.client(MAIL).acquire, "r", "r", contains="LeasesPerRegionMax")
    equal(get_acl(env.fs("r")), before)
    equal(root.list()["r"]["mode"], 0o600)


def test_a_slow_or_hanging_polkit_holds_up_no_other_caller(env):
    env.start_polkit()
    env.start()
    root, c, other = env.client(0), env.client(GAMES), env.client(MAIL)
    root.create("r", mode=0o666)
    env.polkit_do("SetHang", "b", "true")
    c.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
           args=["slow", 4096, 0o600, {}])
    wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] == 1, what="polkit to be asked")
    began = time.monotonic()
    for _ in range(20):
        other.acquire("r")
        other.list()
    assert time.monotonic() - began < 2
    # Another caller creates the region while polkit decides, so the request must be checked again.
    root.create("slow", 4096, 0o600)
    env.allow("org.mshare1.create-region")
    env.polkit_do("Release")
    refuses("RegionExists", c.receive)


def test_an_answer_holds_for_what_was_asked_about_only(env):
    env.start_polkit()
    env.start()
    root, stranger = env.client(0), env.client(MAIL)
    env.allow("org.mshare1.set-mode", "org.mshare1.set-owner", "org.mshare1.remove-region",
              "org.mshare1.acquire-region", "org.mshare1.resize-region")

    def remake():
        root.remove("r", force=True)
        root.create("r", mode=0o600, uid=GAMES, gid=GAMES)

    def give_away():
        root.manager("SetRegionOwner", "suu", "r", LP, LP)

    root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    for change in (remake, give_away):
        for member, signature, args in (("SetRegionMode", "su", ["r", 0o666]), ("RemoveRegion", "sa{sv}", ["r", {}]),
                                        ("SetRegionOwner", "suu", ["r", MAIL, 2**32 - 1]),
                                        ("ResizeRegion", "sta{sv}", ["r", 1 << 21, {}]),
                                        ("AcquireRegion", "ssa{sv}", ["r", "r", {}])):
            env.polkit_do("SetHang", "b", "true")
            stranger.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member=member, signature=signature,
                          args=args)
            wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] == 1, what="polkit to be asked")
            change()
            env.polkit_do("SetHang", "b", "false")
            env.polkit_do("Release")
            refuses("AccessDenied", stranger.receive, contains=("changed while polkit was being asked", "org.mshare1."))
            remake()
    equal((os.stat(env.fs("r")).st_uid, os.stat(env.fs("r")).st_mode & 0o777), (GAMES, 0o600))
    equal(get_acl(env.fs("r")), None)


def test_what_is_done_to_regions_is_asked_with_details(env):
    env.start_polkit()
    env.start()
    root, c = env.client(0), env.client(MAIL)
    path = root.create("r", 8192, mode=0o640, uid=GAMES, gid=MAN, backing="memfd")[0]
    details = {"region": "r", "mode": "0640", "owner": str(GAMES), "group": str(MAN), "size": "8192",
               "backing": "memfd"}
    for action, changed, members in (
            ("set-mode", {"mode": "0604"}, (("SetMode", "u", 0o604),)),
            ("set-owner", {"owner": str(LP)}, (("SetOwner", "uu", LP, 2**32 - 1),)),
            ("resize-region", {"size": "4096"}, (("Resize", "ta{sv}", 4096, {}),)),
            ("remove-region", {}, (("Remove", "a{sv}", {"force": True}),)),
            ("acquire-region", {}, (("Acquire", "sa{sv}", "r", {}),))):
        for member, signature, *args in members:
            refuses("AccessDenied", c.region, path, member, signature, *args, contains="org.mshare1." + action)
            name = "AcquireRegion" if member == "Acquire" else member.replace("Set", "SetRegion").replace(
                "Remove", "RemoveRegion").replace("Resize", "ResizeRegion")
            refuses("AccessDenied", c.manager, name, "s" + signature, "r", *args, contains="org.mshare1." + action)
        for q in json.loads(env.polkit_do("Report"))["questions"][-2:]:
            equal((q["action"], q["details"]), ("org.mshare1." + action, dict(details, **changed)))
    equal(len(json.loads(env.polkit_do("Report"))["questions"]), 10)


def test_a_region_that_goes_while_polkit_is_asked_leaves_no_call(env):
    with open(env.config + "/mshared.conf", "w") as f:
        f.write("[Limits]\nPendingCallsPerUserMax=1\n")
    env.start_polkit()
    env.start()
    root, c, d = env.client(0), env.client(MAIL), env.client(MAIL)
    path = "/org/mshare1/region/r"
    env.allow("org.mshare1.set-mode", "org.mshare1.create-region")

    def removed():
        root.remove("r")

    def unlinked():
        # A change is noticed when the call is handled again. Everything that changed before has been checked by then.
        time.sleep(0.1)
        env.daemon.send_signal(signal.SIGSTOP)
        wait_until(lambda: open("/proc/%d/stat" % env.daemon.pid).read().split(") ")[-1][0] == "T", what="the stop")
        os.unlink(env.fs("r"))

    for go, error in ((removed, "UnknownObject"), (unlinked, "NoSuchRegion")):
        root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
        env.polkit_do("SetHang", "b", "true")
        c.send("call", path=path, interface=REGION_IFACE, member="SetMode", signature="u", args=[0o666])
        wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] == 1, what="polkit to be asked")
        refuses("LimitExceeded", d.region, path, "SetMode", "u", 0o666, contains="PendingCallsPerUserMax")
        go()
        env.polkit_do("SetHang", "b", "false")
        env.polkit_do("Release")
        env.daemon.send_signal(signal.SIGCONT)
        refuses(error, c.receive, contains="r'")
        # Its place is free again, although its caller is still connected.
        d.create("s")
        d.remove("s")
    xml = root.do("call", path="/org/mshare1/region", interface="org.freedesktop.DBus.Introspectable",
                  member="Introspect")
    assert "<node" in xml, xml
    refuses("UnknownObject", root.do, "call", path=path, interface="org.freedesktop.DBus.Introspectable",
            member="Introspect")
    refuses("UnknownObject", root.get, path, REGION_IFACE, "Name")


def test_a_polkit_that_hangs_is_not_asked_more_and_more(env):
    env.start_polkit()
    env.start()
    env.polkit_do("SetHang", "b", "true")
    env.polkit_do("SetDeaf", "b", "true")
    began = time.monotonic()

    def report():
        return json.loads(env.polkit_do("Report"))

    # As many users as are needed to occupy all places: 16, 16, 16, 8, 4, 2, 1, 1.
    clients = [env.client(uid) for uid in (GAMES, MAN, LP, MAIL, NEWS, 2, 3, 33)]
    n = 0
    for c, places in zip(clients, (16, 16, 16, 8, 4, 2, 1, 1)):
        c.do("send", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
             args=["r", 4096, 0o600, {}], times=20)
        n += places
        wait_until(lambda: report()["in_flight"] == n, what="%d questions" % n)  # pylint: disable=cell-var-from-loop
    late = env.client(10)
    late.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
              args=["s", 4096, 0o600, {}])
    # A rule may take 25 seconds.
    wait_until(lambda: len(report()["cancelled"]) == 64, timeout=90, step=0.5, what="the questions to be cancelled")
    assert time.monotonic() - began > 24, time.monotonic() - began
    # The bus still waits for those answers, so polkit is asked nothing more, for those in line or for this user.
    refuses("AccessDenied", late.receive, contains="polkit does not answer")
    equal((len(report()["questions"]), report()["in_flight_max"]), (64, 64))
    began = time.monotonic()
    refuses("AccessDenied", late.create, "s", contains="polkit does not answer")
    assert time.monotonic() - began < 2
    # Late answers are accepted, so there is room again.
    env.polkit_do("SetHang", "b", "false")
    env.allow("org.mshare1.create-region")
    env.polkit_do("Release")
    late.create("s")
    equal(sorted(late.list()), ["s"])


def test_questions_of_a_client_that_leaves_are_cancelled(env):
    env.start_polkit()
    env.start()
    env.polkit_do("SetHang", "b", "true")

    def asks_and_leaves():
        c = env.client(GAMES)
        c.do("send", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
             args=["r", 4096, 0o600, {}], times=100)
        wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] > 0)
        c.kill()

    for _ in range(3):
        asks_and_leaves()
        wait_until(lambda: len(json.loads(env.polkit_do("Report"))["cancelled"]) > 0, what="a cancellation")
    wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] == 0, what="all to be cancelled")
    # A client that leaves and returns may not ask more questions than a client that stays.
    env.polkit_do("SetDeaf", "b", "true")
    for _ in range(3):
        asks_and_leaves()
    time.sleep(0.3)
    equal(json.loads(env.polkit_do("Report"))["in_flight"], 16)
    env.polkit_do("SetHang", "b", "false")
    env.polkit_do("Release")
    env.allow("org.mshare1.create-region")
    c = env.client(GAMES)
    c.create("r")
    assert c.list()["r"]["uid"] == GAMES


def test_a_polkit_that_dies_means_no(env):
    env.start_polkit()
    env.start()
    c = env.client(GAMES)
    env.polkit_do("SetHang", "b", "true")
    c.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="CreateRegion", signature="stua{sv}",
           args=["r", 4096, 0o600, {}])
    wait_until(lambda: json.loads(env.polkit_do("Report"))["in_flight"] == 1)
    env.polkit.kill()
    env.polkit.wait()
    env.polkit = None
    refuses("AccessDenied", c.receive)
    refuses("AccessDenied", c.create, "r")


def test_the_example_rule_is_about_the_groups_own_regions(env):
    with open(os.path.join(SOURCE, "polkit/50-mshare-example.rules"), encoding="utf-8") as f:
        rules = f.read()
    # The names in the rule are changed, as it says: the group that GAMES has in /etc/passwd, and the user MAIL.
    assert 'isInGroup("dba")' in rules and "postgres = 26;" in rules
    start_real_polkit(env, rules.replace('isInGroup("dba")', 'isInGroup("games")')
                      .replace("postgres = 26;", "postgres = %d;" % MAIL))
    env.start()
    # Older versions of polkit look up the groups of the user, newer ones use those of the process. Here both are the
    # same.
    group = pwd.getpwuid(GAMES).pw_gid
    root, dba, other = env.client(0), env.client(GAMES, group, (group,)), env.client(NEWS)
    dba.create("dba-own", 4096, 0o660)
    dba.create("dba-pg", 64 << 30, 0o660, uid=MAIL, gid=MAIL)
    dba.manager("SetRegionMode", "su", "dba-pg", 0o640)
    dba.manager("SetRegionOwner", "suu", "dba-own", MAIL, 2**32 - 1)
    row = root.list()
    equal((row["dba-pg"]["uid"], row["dba-pg"]["mode"], row["dba-own"]["uid"]), (MAIL, 0o640, MAIL))
    # A region that is too large, open to all, another user's, or of another name needs an administrator's password.
    for name, size, mode, options in (("dba-x", (64 << 30) + 1, 0o600, {}), ("dba-x", 4096, 0o664, {}),
                                      ("dba-x", 4096, 0o600, {"uid": NEWS}), ("x", 4096, 0o600, {})):
        refuses("InteractiveAuthorizationRequired", dba.create, name, size, mode, **options)
    refuses("InteractiveAuthorizationRequired", dba.manager, "SetRegionMode", "su", "dba-pg", 0o666)
    refuses("InteractiveAuthorizationRequired", dba.remove, "dba-pg")
    refuses("InteractiveAuthorizationRequired", other.create, "dba-x", 4096, 0o600)
    # They may not change regions of other users, whatever the new owner or mode is.
    root.create("victim", 4096, 0o600, uid=NEWS, gid=NEWS)
    refuses("InteractiveAuthorizationRequired", dba.manager, "SetRegionMode", "su", "victim", 0o660)
    refuses("InteractiveAuthorizationRequired", dba.manager, "SetRegionOwner", "suu", "victim", MAIL, GAMES)
    refuses("InteractiveAuthorizationRequired", dba.acquire, "victim")
    row = root.list()["victim"]
    equal((row["uid"], row["gid"], row["mode"]), (NEWS, NEWS, 0o600))


if __name__ == "__main__":
    sys.exit(main(globals()))
