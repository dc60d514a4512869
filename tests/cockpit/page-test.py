#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page of Cockpit with the real broker, on its kernel double: page-test.py MSHARED MSHARECTL [FOLDER FOR SCREENSHOTS]"""

import json
import os
import subprocess
import sys
import time

from browser import Browser, Page, Server, missing
import harness
from harness import GAMES, MAN, wait_until

MiB = 1 << 20
POLKIT = "org.mshare1."

binary = msharectl = shots = browser = None


class Env(harness.Env):
    """With a page of an ordinary user, games."""

    def __init__(self):
        self.server = None
        super().__init__(binary, "dbus-daemon")

    def serve(self):
        self.server = Server(self, GAMES)
        return self.page()

    def page(self):
        return Page(browser, self.server.url())

    def ctl(self, *args):
        r = subprocess.run([msharectl, *args], env=self.environ(), capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr
        return r.stdout

    def shoot(self, page, name):
        if shots:
            page.shoot(os.path.join(shots, name))

    def close(self):
        if self.server:
            self.server.stop()
        super().close()


def equal(a, b):
    assert a == b, "%r is not %r" % (a, b)


def row(name):
    return 'tbody[data-region="%s"]' % name


def quiet(page):
    equal(page.log(), [])


def test_figures_are_those_of_the_kernel_and_change_with_it(env):
    env.start_polkit()
    env.start()
    root = env.client(0)
    root.create("pgdata", 256 * MiB, 0o640, uid=MAN, gid=MAN, label="<b>buffers</b> & more")
    root.create("spare", 3 * MiB + 1)
    env.usage("pgdata", 105, 260 * 1000, 604)
    page = env.serve()
    page.wait_text(row("pgdata") + " .sharers", "105")
    equal(page.names(), ["pgdata", "spare"])
    # The same text as in the terminal, and the same numbers as in fdinfo and for Prometheus.
    for name in "pgdata", "spare":
        listed = next(line.split() for line in env.ctl("list", "--no-legend").splitlines() if line.startswith(name))
        shown = page.cells(name)
        equal([shown[key] for key in ("size", "resident", "sharers", "tables", "saved", "owner", "state")],
              listed[1:4] + listed[5:7] + [listed[8], listed[9]])
    equal(page.cells("pgdata")["saved"], "61.3M")
    equal(page.text("#saved"), "61.3M")
    equal(page.text("#held"), "604K")
    assert 'mshare_region_page_table_saved_bytes{region="pgdata"} %d' % (104 * 604 * 1024) in env.ctl("metrics")
    # A note is shown as text, whatever it contains.
    equal(page.text(row("pgdata") + " .label"), "<b>buffers</b> & more")
    # Changes that the kernel does not announce.
    env.usage("pgdata", 3, 4, 8)
    page.wait_text(row("pgdata") + " .saved", "16K")
    page.wait_text("#saved", "16K")
    wait_until(lambda: "16K saved, 8K held once" in (page.all("#plot svg")[0].get_attribute("aria-label") or ""),
               timeout=20, what="the plot")
    assert len(page.all("#plot .saved-line")[0].get_attribute("points").split()) >= 2
    # Changes that it announces.
    root.create("later", 4096)
    page.wait_text("#count", "3")
    root.remove("later")
    page.wait_gone(row("later"))
    quiet(page)


def draw_history(env, page):
    """For the picture: a server whose connections come and go."""
    steps = [n if n < 60 else 60 + (n * 7) % 45 for n in range(5, 105)]
    for sharers in steps:
        env.usage("pgdata", sharers, 250 * 1024, 604)
        time.sleep(2)
    page.wait_text(row("pgdata") + " .sharers", str(steps[-1]))


def test_who_uses_a_region(env):
    env.start_polkit()
    env.start()
    root = env.client(0)
    root.create("pgdata", 256 * MiB, 0o600, uid=MAN)
    env.usage("pgdata", 2, 4, 8)
    man = env.client(MAN)
    page = env.serve()
    page.click(row("pgdata") + " .toggle")
    page.wait_text(row("pgdata") + " .users", "No process holds a lease")
    lease = man.acquire("pgdata")[2]
    page.wait_text(row("pgdata") + " .users", "1 lease.", "man", str(man.process.pid), "rw")
    page.wait_text(row("pgdata") + " .facts", "Mode 0600", "anonymous", "persistent")
    if shots:
        draw_history(env, page)
        env.shoot(page, "cockpit-region.png")
    man.do("close", fd=lease)
    page.wait_text(row("pgdata") + " .users", "No process holds a lease")
    quiet(page)


def test_a_region_is_made_as_polkit_allows(env):
    env.start_polkit()
    env.start()
    page = env.serve()
    page.wait_text("#none", "No regions")

    page.click("#create")
    for field, value, part in (("name", "", "The name is missing"), ("size", "12X", "Invalid size '12X': expected a number"),
                               ("mode", "0999", "Invalid mode '0999': expected an octal"), ("owner", "nemo:", "no user 'nemo'")):
        before = page.all("#create-" + field)[0].get_property("value")
        if field != "name":
            page.type("#create-name", "mine")
        page.type("#create-" + field, value)
        page.click("#create-dialog button[type=submit]")
        page.wait_text("#create-dialog .alert", part)
        page.type("#create-" + field, before)

    page.type("#create-name", "mine")
    page.type("#create-size", "16M")
    page.click("#create-dialog button[type=submit]")
    page.wait_text("#create-dialog .alert", "Create failed", "polkit")
    env.shoot(page, "cockpit-refused.png")
    equal(env.client(0).list(), {})

    env.allow(POLKIT + "create-region")
    page.click("#create-dialog button[type=submit]")
    page.wait_gone("#create-dialog")
    page.wait_text(row("mine") + " .size", "16M")
    made = env.client(0).list()["mine"]
    equal((made["uid"], made["mode"], made["state"]), (GAMES, 0o600, "ready"))

    # Giving it to another user is another question for polkit.
    page.click("#create")
    page.type("#create-name", "theirs")
    page.type("#create-owner", "man:games")
    page.click("#create-dialog button[type=submit]")
    page.wait_text("#create-dialog .alert", "polkit")
    env.allow(POLKIT + "set-owner")
    page.click("#create-dialog button[type=submit]")
    page.wait_text(row("theirs") + " .owner", "man:games")
    asked = json.loads(env.polkit_do("Report"))["questions"]
    assert all(q["flags"] == 1 for q in asked), asked

    # If a name is in use, the broker's message is shown.
    page.wait_gone("#create-dialog")
    page.click("#create")
    page.type("#create-name", "mine")
    env.allow(POLKIT + "create-region")
    page.click("#create-dialog button[type=submit]")
    page.wait_text("#create-dialog .alert", "mine")
    page.click("#create-dialog .cancel")
    page.wait_gone("#create-dialog")
    quiet(page)


def test_a_region_is_removed_as_polkit_allows(env):
    env.start_polkit()
    env.start()
    root = env.client(0)
    root.create("pgdata", MiB, 0o600, uid=MAN)
    lease = env.client(MAN).acquire("pgdata")[2]
    assert lease
    page = env.serve()

    page.click(row("pgdata") + " .remove")
    page.wait_text("#remove-dialog", "Remove region pgdata?", "1 lease")
    page.click("#remove-dialog button[type=submit]")
    page.wait_text("#remove-dialog .alert", "Remove failed", "polkit")
    env.allow(POLKIT + "remove-region")
    page.click("#remove-dialog button[type=submit]")
    page.wait_text("#remove-dialog .alert", "client")
    assert "pgdata" in root.list()
    page.click("#remove-force")
    page.click("#remove-dialog button[type=submit]")
    page.wait_gone("#remove-dialog")
    page.wait_gone(row("pgdata"))
    equal(root.list(), {})
    quiet(page)


def test_what_is_wrong_is_said_in_a_sentence(env):
    env.start_polkit()
    env.start()
    root = env.client(0)
    root.create("pgdata", MiB, 0o600, uid=MAN)
    page = env.serve()
    page.wait_text("#count", "1")
    equal(page.text("#problems"), "")

    # A server that has a lease but no mapping.
    lease = env.client(MAN).acquire("pgdata")[2]
    assert lease
    page.wait_text("#problems .warning", "A server holds 1 lease on region pgdata", "msharectl check UNIT pgdata")
    env.shoot(page, "cockpit-outside.png")
    env.usage("pgdata", 1, 4, 8)
    page.wait_gone("#problems .alert")

    env.stop()
    page.wait_text("#problems .danger", "The broker is down", "systemctl start mshared")
    assert not page.all("#create")[0].is_enabled()
    # msharefs is not mounted.
    os.rename(env.kernel + "/fs", env.kernel + "/aside")
    env.start()
    page.wait_text("#problems .danger", "Regions cannot be used", "msharefs is not mounted")
    assert not page.all("#create")[0].is_enabled()
    env.stop()
    os.rename(env.kernel + "/aside", env.kernel + "/fs")
    with open(env.kernel + "/unsupported", "w", encoding="utf-8"):
        pass
    env.start()
    page.wait_text("#problems .danger", "kernel", "6.12")
    os.unlink(env.kernel + "/unsupported")
    env.restart()
    page.wait_gone("#problems .alert")
    page.wait_text("#count", "1")
    assert page.all("#create")[0].is_enabled()
    quiet(page)


def main():
    global binary, msharectl, shots, browser
    binary, msharectl = sys.argv[1:3]
    shots = sys.argv[3] if len(sys.argv) > 3 else None
    why = missing()
    if why:
        print("1..0 # SKIP " + why)
        return 0
    browser = Browser()
    try:
        return harness.run_tests([f for name, f in sorted(globals().items()) if name.startswith("test_")], Env)
    finally:
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
