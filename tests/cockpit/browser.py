# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page in a browser without a login: cockpit-ws and a bridge on a private bus, Chromium without a screen."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../daemon"))

import harness  # noqa: E402

WS = "/usr/lib/cockpit/cockpit-ws"
TOOLS = {"chromium": "chromium", "chromedriver": "chromium-driver", "cockpit-bridge": "cockpit-bridge",
         "unshare": "util-linux", "setpriv": "util-linux"}
# For a slow machine: a wait ends as soon as its condition is true.
TIMEOUT = 60


def missing() -> str | None:
    """Why this test cannot run here, or None."""
    if os.getuid() != 0:
        return "needs root to run a broker and clients as different users"
    packages = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if not os.path.exists(WS):
        packages.append("cockpit-ws")
    if not importlib.util.find_spec("selenium"):
        packages.append("python3-selenium")
    return "not installed: " + " ".join(sorted(set(packages))) if packages else None


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """cockpit-ws, whose only session belongs to that user, on the bus of env."""

    def __init__(self, env: harness.Env, uid: int) -> None:
        self.env = env
        self.port = free_port()
        share = os.path.join(env.top, "share/cockpit")
        os.makedirs(share)
        shutil.copytree(os.path.join(HERE, "../../cockpit"), os.path.join(share, "mshare"))
        home = os.path.join(env.top, "home")
        os.mkdir(home, 0o755)
        os.chown(home, uid, uid)
        session = os.path.join(env.top, "session")
        with open(session, "w", encoding="utf-8") as f:
            # With the address of a session bus, the bridge does not start one, which would outlive it.
            f.write("#!/bin/sh\nexport HOME=%s XDG_DATA_DIRS=%s:/usr/share XDG_RUNTIME_DIR=%s "
                    "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent\nexec %s cockpit-bridge\n"
                    % (home, os.path.dirname(share), home, " ".join(harness.as_user(uid))))
        os.chmod(session, 0o755)
        # Everything that it starts ends with it.
        self.process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", WS, "--no-tls", "--address=127.0.0.1", "-p", str(self.port),
             "--local-session=" + session],
            env=dict(env.environ(), XDG_CONFIG_DIRS=env.top), stdout=env.log, stderr=env.log, start_new_session=True)
        harness.wait_until(self.answers, timeout=TIMEOUT, what="cockpit-ws")

    def answers(self) -> bool:
        assert self.process.poll() is None, "cockpit-ws has gone"
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def url(self) -> str:
        return "http://127.0.0.1:%d/cockpit/@localhost/mshare/index.html" % self.port

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Browser:
    """One browser for all tests; each test has a page of its own."""

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        self.profile = tempfile.mkdtemp(prefix="mshare-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                         "--window-size=1200,900", "--user-data-dir=" + self.profile):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        try:
            self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        except BaseException:
            shutil.rmtree(self.profile, ignore_errors=True)
            raise

    def close(self) -> None:
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    """The elements of the page, by CSS selectors."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.driver = browser.driver
        self.driver.get_log("browser")  # what the previous test left
        self.driver.get(url)

    def all(self, css: str) -> Any:
        return self.driver.find_elements("css selector", css)

    def text(self, css: str) -> Any:
        """The text of the first such element in the document, visible or not; None if there is none."""
        return self.driver.execute_script(
            "const e = document.querySelector(arguments[0]); return e && e.textContent", css)

    def wait_text(self, css: str, *parts: str) -> None:
        def found() -> bool:
            text = self.text(css)
            return text is not None and all(part in text for part in parts)
        try:
            harness.wait_until(found, timeout=TIMEOUT, what="%r in %s" % (parts, css))
        except AssertionError as e:
            raise AssertionError("%s, which has %r; page: %r; log: %r" % (e, self.text(css), self.text("body"), self.log())) from e

    def wait_gone(self, css: str) -> None:
        harness.wait_until(lambda: not self.all(css), timeout=TIMEOUT, what="%s to go; it says %r" % (css, self.text(css)))

    def click(self, css: str) -> None:
        harness.wait_until(lambda: any(e.is_displayed() and e.is_enabled() for e in self.all(css)[:1]),
                           timeout=TIMEOUT, what="%s to be there to click on" % css)
        self.all(css)[0].click()

    def type(self, css: str, text: str) -> None:
        element = self.all(css)[0]
        element.clear()
        element.send_keys(text)

    def cells(self, name: str) -> Any:
        """The cells of a region's row, by their classes."""
        return self.driver.execute_script(
            "const cells = {}; for (const td of document.querySelectorAll('tbody[data-region=\"' + arguments[0] + '\"] > tr:first-child > td'))"
            " cells[td.dataset.label || 'actions'] = td.textContent; return cells", name)

    def names(self) -> Any:
        return self.driver.execute_script(
            "return [...document.querySelectorAll('#regions > tbody')].map(body => body.dataset.region)")

    def log(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def shoot(self, path: str) -> None:
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        self.driver.set_window_size(1200, max(700, height + 150))
        self.driver.save_screenshot(path)
