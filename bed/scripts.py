#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test scripts in systemd guests: tests/guest/*.sh, one guest for each.

A script speaks TAP on its output and is run by bash as root, once the system
has come up with the project installed. Comment lines at its top say what it
needs, each with its default here:

  # limit: 120        seconds for boot and script together
  # memory: 2048      MiB
  # cpus: 2
  # kernel: mshare    or debug, or stock
  # append:           words for the kernel command line
  # host: no          or yes: all files of this machine at /mnt/host, for reading,
                      and in MSHARE_TREE where the project is among them
  # only: long        not without --long, unless the script is named

With --long, scripts are run that say how, and no others:

  # long: NAME=VALUE...      one further run, with these in its environment
  # long-limit: SECONDS      what is different in it: limit, memory, cpus,
  # long-kernel: debug       kernel or append

A second "long:" line begins a second further run. A script that is only for
--long and says no more is run once.

Its directory is /run/job/guest. In its environment: MSHARE_RELEASE and
MSHARE_CONFIG_SHA256 of the kernel that ought to run, MSHARE_PATCHED (yes or no),
and what --env gives.
"""

import argparse
import hashlib
import os
import re
import shlex
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import report  # noqa: E402
import vm  # noqa: E402
from guest import log_path  # noqa: E402

# The settings of one run: limit, memory, cpus and so on, from the comments.
Wishes = dict[str, str]


def parse() -> argparse.Namespace:
    ap = argparse.ArgumentParser()
    for name in ("root", "overlay", "cache", "results", "patched"):
        ap.add_argument("--" + name, required=True)
    for name in ("mshare", "debug", "stock"):
        ap.add_argument("--" + name, help="directory of that kernel, if a script wants it")
    ap.add_argument("--release", default="", help="Debian release of the root, to be named in the results")
    ap.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="for the scripts' environment")
    ap.add_argument("--long", action="store_true")
    ap.add_argument("--named", action="store_true", help="run scripts that are only for --long as well")
    ap.add_argument("--verbose", action="store_true", help="show what scripts print, pass or fail")
    ap.add_argument("scripts", nargs="+")
    return ap.parse_args()


def runs(path: str, long: bool, named: bool) -> list[Wishes]:
    """The requested runs of each script, as dicts of their settings."""
    plain = {"limit": "120", "memory": "2048", "cpus": "2", "kernel": "mshare", "append": "", "host": "no", "only": "",
             "env": ""}
    further: list[Wishes] = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                break
            match = re.match(r"# (long-)?(limit|memory|cpus|kernel|append|host|only):\s*(.*)$", line)
            if match and not match[1]:
                plain[match[2]] = match[3].strip()
            elif match:
                if not further:
                    further.append({})
                further[-1][match[2]] = match[3].strip()
            match = re.match(r"# long:\s*(.*)$", line)
            if match:
                if not further or "env" in further[-1]:
                    further.append({})
                further[-1]["env"] = match[1].strip()
    if not long:
        return [] if plain["only"] == "long" and not named else [plain]
    if plain["only"] == "long" and not further:
        return [plain]
    return [{**plain, **run} for run in further]


class Reader:
    """What a script prints, line by line as it comes."""

    def __init__(self) -> None:
        self.tap = report.Tap()
        self.lines: list[str] = []
        self.rest = b""

    def on_output(self, data: bytes) -> None:
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            self.on_line(line.decode("utf-8", "replace"))

    def on_line(self, line: str) -> None:
        self.lines.append(line)
        self.tap.feed(line)

    def end(self) -> list[str]:
        """All lines; the last one may lack its line feed."""
        if self.rest:
            self.on_line(self.rest.decode("utf-8", "replace"))
        return self.lines


def run_script(opts: argparse.Namespace, path: str, wishes: Wishes) -> int:
    name = os.path.basename(path)
    words = shlex.split(wishes["env"]) + opts.env
    title = " ".join([name, *words] + ([f"on Debian {opts.release}"] if opts.release else [])
                     + ([f"on {wishes['kernel']}"] if wishes["kernel"] != "mshare" else []))
    kernel = {"mshare": opts.mshare, "debug": opts.debug, "stock": opts.stock}[wishes["kernel"]]
    if kernel is None:
        sys.exit(f"{path} needs the kernel --{wishes['kernel']}")
    machine = vm.Machine(kernel)
    machine.root, machine.memory = opts.root, wishes["memory"]
    machine.cpus, machine.append = int(wishes["cpus"]), wishes["append"]
    machine.accel, _ = vm.choose_accel(kernel, opts.cache)
    tree = ""
    if wishes["host"] == "yes":
        machine.mount, machine.mount_readonly = "/", True
        tree = f"export MSHARE_TREE={shlex.quote(os.path.realpath(os.path.join(os.path.dirname(path), '../..')))}\n"
    with open(os.path.join(kernel, "release"), encoding="ascii") as file:
        release = file.read().strip()
    with open(os.path.join(kernel, "config"), "rb") as file:
        config = hashlib.sha256(file.read()).hexdigest()

    guest = vm.Guest(machine, log_path(opts.cache))
    try:
        folder = os.path.dirname(os.path.abspath(path))
        shutil.copytree(folder, os.path.join(guest.job, "guest"))
        shutil.copy(os.path.join(os.path.dirname(folder), "tap.bash"), guest.job)
        shutil.copy(opts.overlay, os.path.join(guest.job, "overlay.tar"))
        guest.put("cmd", f"export MSHARE_RELEASE={release} MSHARE_CONFIG_SHA256={config}\n"
                         f"export MSHARE_PATCHED={opts.patched if wishes['kernel'] != 'stock' else 'no'}\n"
                         + tree + "".join(f"export {shlex.quote(word)}\n" for word in words) +
                         f"cd /run/job/guest && exec bash ./{name}\n")
        reader = Reader()
        result = guest.run(float(wishes["limit"]), reader.on_output)
    finally:
        guest.close()

    lines = reader.end()
    points = reader.tap.finish(result.status)
    if result.status >= vm.TIMEOUT and result.reason:
        points.append(("fail", result.reason))
        report.show(opts.results, result.context)
    if opts.verbose:
        for line in lines:
            vm.note(f"      | {line}")
    if report.counts(points)[1]:
        if not opts.verbose:
            report.show(opts.results, [line for line in lines if not line.startswith("ok ")][-60:])
        vm.note(f"      console: {result.console}")
    report.append(opts.results, f"guest {title}", points)
    vm.note(f"    {title}: {report.words(points)} in {result.seconds:.0f} s")
    # The first point includes the boot.
    slow = report.slowest(reader.tap.times)
    if slow:
        vm.note(f"    slowest: {slow}")
    return report.counts(points)[1]


def main() -> int:
    opts = parse()
    vm.clean_up_on_signals(and_without_parent=True)
    return report.FAILED if sum([run_script(opts, path, wishes)
                     for path in opts.scripts for wishes in runs(path, opts.long, opts.named)]) else 0


if __name__ == "__main__":
    sys.exit(main())
