#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may use a region, who decides that, and what the log says about it. See promises.py for the arguments."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import GAMES, LP, MAIL, MAN, NEWS, wait_until  # noqa: E402
from promises import MANAGER_IFACE, REGION_IFACE, Held, equal, get_acl, main, refuses, set_acl, unit  # noqa: E402

LEAVE = 2**32 - 1
CAP_DAC_OVERRIDE = 1


def questions(env):
    return [q["action"][len("org.mshare1."):] for q in json.loads(env.polkit_do("Report"))["questions"]]


# --- polkit decides about mode and owner ---

def test_creating_is_one_question_the_strongest_that_applies(env):
    env.start_polkit()
    env.start()
    c = env.client(GAMES)
    cases = (("create-region", 0o600, {}), ("create-region", 0o700, {}), ("set-mode", 0o640, {}),
             ("set-mode", 0o601, {}), ("set-owner", 0o600, {"uid": LP}), ("set-owner", 0o600, {"gid": LP}),
             ("set-owner", 0o666, {"uid": LP, "gid": LP}))
    for action, mode, options in cases:
        refuses("AccessDenied", c.create, "r", 4096, mode, contains="org.mshare1." + action, **options)
    equal(questions(env), [action for action, _, _ in cases])
    # Each of them alone is sufficient.
    for i, (action, mode, options) in enumerate(cases):
        env.allow("org.mshare1." + action)
        c.create("r%d" % i, 4096, mode, **options)
    equal(len(questions(env)), 2 * len(cases))
    # polkit is not asked about root.
    env.client(0).create("root", 4096, 0o666, uid=LP)
    equal(len(questions(env)), 2 * len(cases))


def test_to_admit_group_or_others_asks_at_creation_and_later(env):
    env.start_polkit()
    env.start()
    env.allow("org.mshare1.create-region")
    c = env.client(MAIL)
    refuses("AccessDenied", c.create, "r", 4096, 0o666, contains="org.mshare1.set-mode")
    path = c.create("r", 4096, 0o600)[0]
    for mode in (0o666, 0o601, 0o640):
        refuses("AccessDenied", c.manager, "SetRegionMode", "su", "r", mode, contains="org.mshare1.set-mode")
        refuses("AccessDenied", c.region, path, "SetMode", "u", mode, contains="org.mshare1.set-mode")
    equal(c.list()["r"]["mode"], 0o600)
    asked = len(questions(env))
    # An owner may set any mode on a region of his own.
    for mode in (0o400, 0o000, 0o700, 0o600):
        c.manager("SetRegionMode", "su", "r", mode)
    equal((len(questions(env)), c.list()["r"]["mode"]), (asked, 0o600))
    env.allow("org.mshare1.set-mode")
    c.manager("SetRegionMode", "su", "r", 0o664)
    env.allow()
    asked = len(questions(env))
    for mode in (0o644, 0o640, 0o600):
        c.manager("SetRegionMode", "su", "r", mode)
    equal(len(questions(env)), asked)
    refuses("AccessDenied", c.manager, "SetRegionMode", "su", "r", 0o640)
    # Another user cannot reduce permissions without a question either, and polkit is not asked about root.
    refuses("AccessDenied", env.client(NEWS).manager, "SetRegionMode", "su", "r", 0o000)
    env.client(0).manager("SetRegionMode", "su", "r", 0o666)
    equal(c.list()["r"]["mode"], 0o666)


def test_a_lists_mask_is_no_permission_of_the_group(env):
    env.start_polkit()
    env.start()
    root, owner = env.client(0), env.client(GAMES)
    root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    set_acl(env.fs("r"), (1, 6, None), (2, 6, MAIL), (4, 0, None), (16, 6, None), (32, 0, None))
    equal(root.list()["r"]["mode"], 0o660)
    # Setting the mode that is shown would give the group more than it has.
    refuses("AccessDenied", owner.manager, "SetRegionMode", "su", "r", 0o660, contains="org.mshare1.set-mode")
    refuses("AccessDenied", owner.manager, "SetRegionMode", "su", "r", 0o640, contains="org.mshare1.set-mode")
    owner.manager("SetRegionMode", "su", "r", 0o600)
    equal((get_acl(env.fs("r")), root.list()["r"]["mode"]), (None, 0o600))


# --- what polkit has granted ---

def test_a_change_of_owner_takes_back_what_was_granted(env):
    env.start_polkit()
    env.start()
    root, stranger = env.client(0), env.client(MAIL)
    for i, (uid, gid) in enumerate(((NEWS, NEWS), (NEWS, LEAVE), (LEAVE, NEWS))):
        name = "r%d" % i
        path = root.create(name, mode=0o600, uid=GAMES, gid=GAMES)[0]
        set_acl(env.fs(name), (1, 6, None), (4, 0, None), (32, 0, None))
        env.allow("org.mshare1.acquire-region")
        stranger.acquire(name, "rw")
        env.allow()
        stranger.acquire(name, "r")
        equal(root.get(path, REGION_IFACE, "Acl"), [["user", MAIL, 6]])
        # Setting the same owner changes nothing.
        root.manager("SetRegionOwner", "suu", name, GAMES, LEAVE)
        equal(root.get(path, REGION_IFACE, "Acl"), [["user", MAIL, 6]])
        root.manager("SetRegionOwner", "suu", name, uid, gid)
        equal((root.get(path, REGION_IFACE, "Acl"), get_acl(env.fs(name))), ([], None))
        # The group has not got the rights of the list's mask either.
        equal(root.list()[name]["mode"], 0o600)
        for access in ("r", "rw"):
            refuses("AccessDenied", stranger.acquire, name, access, contains="org.mshare1.acquire-region")


def test_who_is_in_the_list_is_shown_and_can_be_taken_out(env):
    env.start_polkit()
    env.start()
    root, owner, stranger = env.client(0), env.client(GAMES), env.client(MAIL)
    path = root.create("r", mode=0o640, uid=GAMES, gid=GAMES)[0]

    def acl():
        return sorted(owner.get(path, REGION_IFACE, "Acl"))

    equal(acl(), [])
    # If a group's entry exceeds the mask, only what the mask leaves is shown.
    set_acl(env.fs("r"), (1, 6, None), (2, 6, MAIL), (2, 4, LP), (4, 4, None), (8, 7, NEWS), (16, 6, None), (32, 0, None))
    equal(acl(), [["group", NEWS, 6], ["user", LP, 4], ["user", MAIL, 6]])
    stranger.acquire("r", "rw")
    # polkit is asked about other users, and about users in the list, too.
    refuses("AccessDenied", stranger.region, path, "Revoke", "su", "user", LP, contains="org.mshare1.set-mode")
    refuses("InvalidArgs", owner.region, path, "Revoke", "su", "other", LP, contains=("'other'", "'group'"))
    refuses("InvalidArgs", owner.region, path, "Revoke", "su", "user", NEWS, contains="User %d is not in" % NEWS)
    refuses("InvalidArgs", owner.region, path, "Revoke", "su", "group", LP, contains="Group %d is not in" % LP)
    equal(questions(env), ["set-mode"])
    owner.region(path, "Revoke", "su", "user", MAIL)
    refuses("AccessDenied", stranger.acquire, "r", "rw")
    env.client(LP).acquire("r", "r")
    env.client(MAN, NEWS, (NEWS,)).acquire("r", "rw")
    owner.region(path, "Revoke", "su", "group", NEWS)
    # The mask allows what the remaining entries need.
    assert (16, 4, LEAVE) in get_acl(env.fs("r")), get_acl(env.fs("r"))
    equal(acl(), [["user", LP, 4]])
    owner.region(path, "Revoke", "su", "user", LP)
    equal((acl(), get_acl(env.fs("r")), root.list()["r"]["mode"]), ([], None, 0o640))
    refuses("InvalidArgs", owner.region, path, "Revoke", "su", "user", LP)


def region_of_games(env):
    """A broker with polkit, region "r" of games without further entries, clients of root and of another user."""
    env.start_polkit()
    env.start()
    root, stranger = env.client(0), env.client(MAIL)
    root.create("r", mode=0o600, uid=GAMES, gid=GAMES)
    set_acl(env.fs("r"), (1, 6, None), (4, 0, None), (32, 0, None))
    return root, stranger


def test_a_caller_without_a_lease_is_in_no_access_list(env):
    root, stranger = region_of_games(env)
    env.allow("org.mshare1.acquire-region")
    os.chmod(env.runtime + "/leases", 0o500)
    refuses("Failed", stranger.acquire, "r", "rw", contains="Cannot create a lease")
    equal((get_acl(env.fs("r")), root.list()["r"]["mode"]), (None, 0o600))
    # Existing entries stay.
    set_acl(env.fs("r"), (1, 6, None), (2, 4, MAIL), (2, 4, LP), (4, 0, None), (16, 4, None), (32, 0, None))
    before = get_acl(env.fs("r"))
    refuses("Failed", stranger.acquire, "r", "rw")
    equal(get_acl(env.fs("r")), before)
    os.chmod(env.runtime + "/leases", 0o700)
    stranger.acquire("r", "rw")
    assert (2, 6, MAIL) in get_acl(env.fs("r")), get_acl(env.fs("r"))


# --- declared regions ---

def declare(env, name, text="Size=8M\nMode=0600\nUser=games\n"):
    with open(os.path.join(env.regions_dir, name + ".conf"), "w") as f:
        f.write("[Region]\n" + text)


def starts(env, name):
    r = unit(env, "start", name)
    assert r.returncode == 0, r.stderr
    return r.stderr


def does_not_start(env, name, *texts):
    r = unit(env, "start", name)
    assert r.returncode == 1, r.returncode
    for text in texts:
        assert text in r.stderr, (text, r.stderr)


def test_a_declared_region_cannot_be_squatted(env):
    env.start_polkit()
    env.start()
    env.allow("org.mshare1.create-region")
    root, mean = env.client(0), env.client(MAIL)
    path = mean.create("r", 8 << 20, 0o600)[0]
    equal(root.get(path, REGION_IFACE, "Creator"), MAIL)
    declare(env, "r")
    # Whether or not the user is attached, and also after a restart.
    for _ in range(2):
        does_not_start(env, "r", "its owner is user %d and its creator is user %d" % (MAIL, MAIL), "remove it first")
        env.restart()
        root, mean = env.client(0), env.client(MAIL)
        mean.acquire("r")
    equal((root.list()["r"]["uid"], root.list()["r"]["mode"]), (MAIL, 0o600))
    # Giving it to the declared user, or to root, does not help.
    for uid in (GAMES, 0):
        root.manager("SetRegionOwner", "suu", "r", uid, uid)
        does_not_start(env, "r", "its owner is user %d and its creator is user %d" % (uid, MAIL))
    root.remove("r", force=True)
    # Nor a region that the broker did not create.
    root.create("s", 8 << 20, 0o600)
    env.stop()
    os.unlink(os.path.join(env.runtime, "regions/s"))
    env.start()
    root = env.client(0)
    equal(root.get("/org/mshare1/region/s", REGION_IFACE, "Creator"), LEAVE)
    declare(env, "s", "Size=512G\nMode=0600\nUser=games\nBacking=anonymous\n")
    does_not_start(env, "s", "it exists with")
    root.remove("s")
    # Nor a region whose memory comes from other nodes.
    root.create("s", 8 << 20, 0o600, numa="interleave")
    declare(env, "s")
    does_not_start(env, "s", "memory policy 'interleave'", "the file says 'default'", "remove it first")
    declare(env, "s", "Size=8M\nMode=0600\nUser=games\nNUMA=interleave\n")
    starts(env, "s")
    root.remove("s")
    equal(starts(env, "r"), "")
    equal((root.get(path, REGION_IFACE, "Creator"), root.list()["r"]["uid"]), (0, GAMES))


def test_a_region_in_use_is_not_taken_over(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    declare(env, "r")
    starts(env, "r")
    lease = c.acquire("r")[2]
    does_not_start(env, "r", "is in use, with 1 client and 0 processes")
    c.do("close", fd=lease)
    wait_until(lambda: root.list()["r"]["clients"] == 0, what="the lease to be dropped")
    env.usage("r", 2)
    does_not_start(env, "r", "is in use, with 0 clients and 2 processes")
    equal((root.list()["r"]["uid"], root.list()["r"]["mode"]), (GAMES, 0o600))
    env.usage("r", 0)
    said = starts(env, "r")
    assert "taken over for user %d" % GAMES in said, said


def test_a_reader_keeps_no_region_from_being_taken_over(env):
    env.start()
    root, reader = env.client(0), env.client(MAN)
    declare(env, "r", "Size=8M\nMode=0644\nUser=games\n")
    starts(env, "r")
    gid = root.list()["r"]["gid"]
    reader.acquire("r", "r")
    env.usage("r", 2, writers=0)
    said = starts(env, "r")
    assert "taken over for user %d" % GAMES in said, said
    env.usage("r", 2, writers=1)
    does_not_start(env, "r", "is in use, with 1 client and 2 processes")
    env.usage("r", 2, writers=0)
    # It was admitted by a mode, a group or an access list that the file does not have.
    more = "which admits users that the file does not admit"
    declare(env, "r", "Size=8M\nMode=0640\nUser=games\n")
    does_not_start(env, "r", "with mode 0644, group %d, " % gid, more)
    equal((root.list()["r"]["uid"], root.list()["r"]["mode"]), (GAMES, 0o644))
    declare(env, "r", "Size=8M\nMode=0644\nUser=games\nGroup=%d\n" % MAN)
    does_not_start(env, "r", more)
    equal(root.list()["r"]["gid"], gid)
    declare(env, "r", "Size=8M\nMode=0644\nUser=games\n")
    set_acl(env.fs("r"), (1, 6, None), (2, 4, MAIL), (4, 4, None), (16, 4, None), (32, 4, None))
    does_not_start(env, "r", " and an access list, " + more)
    root.manager("SetRegionMode", "su", "r", 0o644)
    starts(env, "r")
    # The right of readers was taken back, and they stay attached.
    root.manager("SetRegionMode", "su", "r", 0o600)
    declare(env, "r", "Size=8M\nMode=0600\nUser=games\n")
    does_not_start(env, "r", "is in use by readers (clients: 1, processes: 2)")


def test_a_region_of_root_or_the_declared_user_is_taken_over_with_a_word(env):
    env.start_polkit()
    env.start()
    env.allow("org.mshare1.create-region")
    for i, (creator, options) in enumerate(((0, {}), (0, {"uid": GAMES, "gid": GAMES}), (GAMES, {}))):
        name = "r%d" % i
        env.client(creator).create(name, 8 << 20, 0o600, **options)
        declare(env, name, "Size=8M\nMode=0640\nUser=games\nGroup=%d\n" % MAN)
        said = starts(env, name)
        assert "mshare-region[notice]: Region %s exists, created by user %d and owned by user" % (name, creator) in said, said
        row = env.client(0).list()[name]
        equal((row["uid"], row["gid"], row["mode"], get_acl(env.fs(name))), (GAMES, MAN, 0o640, None))


def test_a_reload_admits_no_user_on_the_way(env):
    env.start()
    root = env.client(0)
    # A group with an access list has not what the mode shows in its place, the list's mask. What both modes admit stays admitted,
    # unless the group is another.
    listed = ((1, 6, None), (2, 6, MAIL), (4, 0, None), (16, 6, None), (32, 0, None))
    cases = ((0o600, listed, 0o660, MAN, 0o600), (0o664, (), 0o664, MAN, 0o644), (0o666, (), 0o600, MAN, 0o600),
             (0o600, (), 0o666, MAN, 0o600), (0o660, (), 0o640, GAMES, 0o640), (0o600, listed, 0o600, GAMES, 0o600))
    for i, (before, entries, after, gid, between) in enumerate(cases):
        name = "r%d" % i
        root.create(name, 8 << 20, before, uid=GAMES, gid=GAMES)
        if entries:
            set_acl(env.fs(name), *entries)
        shown = root.list()[name]["mode"]
        declare(env, name, "Size=8M\nMode=%o\nUser=%d\nGroup=%d\n" % (after, LP, gid))
        equal(unit(env, "reload", name).returncode, 0)
        equal([line.split(", by user")[0].split(": ")[1] for line in env.read_log().splitlines() if "of region " + name in line],
              ["Mode of region %s set from %04o to %04o" % (name, shown, between),
               "Owner of region %s set from %d:%d to %d:%d" % (name, GAMES, GAMES, LP, gid),
               "Mode of region %s set from %04o to %04o" % (name, between, after)])
        equal(get_acl(env.fs(name)), None)


# --- the log ---

def test_each_change_is_in_the_log_with_who_asked_for_it(env):
    env.start_polkit()
    env.start()
    env.allow(*("org.mshare1." + a for a in ("create-region", "acquire-region", "remove-region")))
    root, c, d = env.client(0), env.client(GAMES), env.client(MAIL)

    def logged(who, *texts):
        by = "by user %d (process %d" % (who.uid, who.process.pid)
        lines = [line for line in env.read_log().splitlines() if by in line]
        assert any(all(t in line for t in texts) for line in lines), (texts, by, env.read_log())

    path = c.create("r")[0]
    logged(c, "Region r created for user %d, group %d, with mode 0600: 1048576 bytes" % (GAMES, GAMES))
    c.manager("SetRegionMode", "su", "r", 0o400)
    logged(c, "Mode of region r set from 0600 to 0400")
    set_acl(env.fs("r"), (1, 6, None), (4, 0, None), (32, 0, None))
    wait_until(lambda: "Region r was changed in msharefs" in env.read_log(), what="the change to be logged")
    d.acquire("r", "r")
    logged(d, "User %d is admitted to region r, access 'r', because polkit permits it" % MAIL)
    c.region(path, "Revoke", "su", "user", MAIL)
    logged(c, "User %d is no longer admitted to region r" % MAIL)
    root.manager("SetRegionOwner", "suu", "r", NEWS, NEWS)
    logged(root, "Owner of region r set from %d:%d to %d:%d" % (GAMES, GAMES, NEWS, NEWS))
    c.remove("r", force=True)
    logged(c, "Region r removed: by force")
    # Failures are logged as well.
    with open(env.kernel + "/refuse", "w") as f:
        f.write("1")
    refuses("Failed", c.create, "s")
    logged(c, "Cannot create region s")
    # The broker's own changes are not logged a second time as changes of others.
    equal(env.read_log().count("was changed in msharefs"), 1)


# --- the region's file ---

def test_a_region_is_opened_for_who_may_acquire_it(env):
    env.start()
    root = env.client(0)
    path, address, length = root.create("r", mode=0o640, uid=GAMES, gid=MAN)
    owner, member, stranger = env.client(GAMES), env.client(LP, LP, (LP, MAN)), env.client(MAIL)
    inode = os.stat(env.fs("r")).st_ino
    for c, access, flags in ((owner, "rw", os.O_RDWR), (owner, "r", os.O_RDONLY), (member, "r", os.O_RDONLY),
                             (root, "rw", os.O_RDWR)):
        got, size, lease, file = c.open("r", access)
        equal((got, size), (address, length))
        equal(c.do("describe", fd=file), {"inode": inode, "access": flags})
        # The file is no lease, and each client has a lease of its own.
        c.do("close", fd=lease)
    wait_until(lambda: root.list()["r"]["clients"] == 0, what="all leases to be dropped")
    # The method of the region's object does the same.
    got, size, lease, file = owner.region(path, "Open", "sa{sv}", "rw", {})
    equal((got, size), (address, length))
    equal(owner.do("describe", fd=file), {"inode": inode, "access": os.O_RDWR})
    equal(root.list()["r"]["clients"], 1)
    # A caller that is not admitted gets neither file nor lease.
    refuses("AccessDenied", member.open, "r", "rw", contains="no polkit")
    refuses("AccessDenied", stranger.open, "r", "r")
    refuses("AccessDenied", stranger.region, path, "Open", "sa{sv}", "r", {})
    root.manager("SetRegionMode", "su", "r", 0o400)
    refuses("AccessDenied", owner.open, "r", "rw")
    equal(root.list()["r"]["clients"], 1)
    refuses("NoSuchRegion", owner.open, "s", "r", contains="'s'")
    refuses("InvalidArgs", owner.open, "r", "w", contains="'w'")
    refuses("InvalidArgs", owner.manager, "OpenRegion", "ssa{sv}", "r", "r", {"wrong": "x"}, contains="wrong")
    # The capability to open any file is in force only during this call.
    with open("/proc/%d/status" % env.daemon.pid, encoding="ascii") as f:
        rights = {k: int(v, 16) for k, v in (line.split() for line in f if line.startswith("Cap"))}
    equal((rights["CapPrm:"] & 1 << CAP_DAC_OVERRIDE, rights["CapEff:"] & 1 << CAP_DAC_OVERRIDE), (1 << CAP_DAC_OVERRIDE, 0))


def test_each_has_an_open_file_of_his_own(env):
    env.start()
    root = env.client(0)
    root.create("r", mode=0o666)
    one, other = env.client(GAMES), env.client(MAIL)
    a, b = one.open("r", "r")[3], other.open("r", "r")[3]
    # A file position and a lock: neither client affects the other's descriptor.
    first = one.do("read", fd=a, bytes=16)
    equal(len(first), 16)
    equal(other.do("read", fd=b, bytes=16), first)


# The broker opens a file that the client itself may not open. Owner, mode and list at that time decide what the
# descriptor allows.
def test_rights_that_go_while_a_region_is_opened_do_not_count(env):
    env.start()
    root, c = env.client(0), env.client(GAMES)
    root.create("r", mode=0o666)
    fs = env.fs("r")
    listed = (1, 6, None), (2, 6, GAMES), (4, 0, None), (16, 6, None), (32, 0, None)
    gone = (1, 6, None), (2, 4, GAMES), (4, 0, None), (16, 6, None), (32, 0, None)
    for before, change in ((lambda: os.chmod(fs, 0o666), lambda: os.chmod(fs, 0o664)),
                           (lambda: (os.chown(fs, GAMES, 0), os.chmod(fs, 0o600)), lambda: os.chown(fs, 0, 0)),
                           (lambda: set_acl(fs, *listed), lambda: set_acl(fs, *gone))):
        before()
        c.do("close", fd=c.open("r", "rw")[2])
        wait_until(lambda: root.list()["r"]["clients"] == 0, what="the lease to be dropped")
        with Held(env, "open") as held:
            c.send("call", path="/org/mshare1", interface=MANAGER_IFACE, member="OpenRegion", signature="ssa{sv}",
                   args=["r", "rw", {}])
            held.wait()
            change()
        refuses("AccessDenied", c.receive, contains="its owner or mode has just changed")
        equal(root.list()["r"]["clients"], 0)


def test_polkit_opens_what_the_mode_does_not(env):
    _, stranger = region_of_games(env)
    refuses("AccessDenied", stranger.open, "r", "r")
    equal(questions(env), ["acquire-region"])
    env.allow("org.mshare1.acquire-region")
    equal(stranger.do("describe", fd=stranger.open("r", "r")[3])["access"], os.O_RDONLY)
    assert (2, 4, MAIL) in get_acl(env.fs("r")), get_acl(env.fs("r"))
    env.allow()
    stranger.open("r", "r")
    refuses("AccessDenied", stranger.open, "r", "rw")


if __name__ == "__main__":
    sys.exit(main(globals()))
