#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test scripts in systemd guests: tests/guest/*.sh, one guest for each, or for some that follow each other.

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
  # follows: NAME     in the guest of that script, after it, if both are run. Both leave nothing
                      behind, and need the same machine. Their limits are added

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
import time

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
             "env": "", "follows": ""}
    further: list[Wishes] = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                break
            match = re.match(r"# (long-)?(limit|memory|cpus|kernel|append|host|only|follows):\s*(.*)$", line)
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


class Part:
    """One script in a guest: what it needs and what it printed."""

    def __init__(self, path: str, wishes: Wishes) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.wishes = wishes
        self.tap = report.Tap()
        self.lines: list[str] = []
        self.begin = time.monotonic()
        self.seconds = 0.0
        self.status: int | None = None      # None: it has not ended

    def title(self, opts: argparse.Namespace) -> str:
        words = [self.name, *shlex.split(self.wishes["env"]), *opts.env]
        if opts.release:
            words.append(f"on Debian {opts.release}")
        if self.wishes["kernel"] != "mshare":
            words.append(f"on {self.wishes['kernel']}")
        return " ".join(words)

    def needs(self) -> Wishes:
        """What is of the guest, and not of the script."""
        return {name: value for name, value in self.wishes.items() if name not in ("limit", "follows", "only")}


def in_guests(opts: argparse.Namespace) -> list[list[Part]]:
    """The scripts of each guest, in order."""
    guests: list[list[Part]] = []
    for path in opts.scripts:
        for wishes in runs(path, opts.long, opts.named):
            part = Part(path, wishes)
            before = [guest for guest in guests if wishes["follows"] and guest[-1].name == wishes["follows"] + ".sh"]
            if not before or opts.long:
                guests.append([part])
                continue
            if part.needs() != before[0][0].needs():
                sys.exit(f"{path} follows {before[0][-1].path}, but needs another machine")
            before[0].append(part)
    return guests


class Reader:
    """What scripts print, line by line as it comes. Lines that begin with "##" delimit the scripts."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        # The first one's time includes the boot.
        self.now = parts[0]
        self.rest = b""

    def on_output(self, data: bytes) -> None:
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            self.on_line(line.decode("utf-8", "replace"))

    def on_line(self, line: str) -> None:
        match = re.match(r"## (begin|end) (\d+)(?: (\d+))?$", line)
        if match and match[1] == "begin":
            self.now = self.parts[int(match[2])]
            if self.now is not self.parts[0]:
                self.now.begin = self.now.tap.last = time.monotonic()
        elif match:
            self.now.status = int(match[3])
            self.now.seconds = time.monotonic() - self.now.begin
        else:
            self.now.lines.append(line)
            self.now.tap.feed(line)

    def end(self) -> None:
        """The last line may lack its line feed."""
        if self.rest:
            self.on_line(self.rest.decode("utf-8", "replace"))


def run_guest(opts: argparse.Namespace, parts: list[Part]) -> int:
    wishes = parts[0].wishes
    words = shlex.split(wishes["env"]) + opts.env
    kernel = {"mshare": opts.mshare, "debug": opts.debug, "stock": opts.stock}[wishes["kernel"]]
    if kernel is None:
        sys.exit(f"{parts[0].path} needs the kernel --{wishes['kernel']}")
    machine = vm.Machine(kernel)
    machine.root, machine.memory = opts.root, wishes["memory"]
    machine.cpus, machine.append = int(wishes["cpus"]), wishes["append"]
    machine.accel, _ = vm.choose_accel(kernel, opts.cache)
    folder = os.path.dirname(os.path.abspath(parts[0].path))
    tree = ""
    if wishes["host"] == "yes":
        machine.mount, machine.mount_readonly = "/", True
        tree = f"export MSHARE_TREE={shlex.quote(os.path.realpath(os.path.join(folder, '../..')))}\n"
    with open(os.path.join(kernel, "release"), encoding="ascii") as file:
        release = file.read().strip()
    with open(os.path.join(kernel, "config"), "rb") as file:
        config = hashlib.sha256(file.read()).hexdigest()

    for part in parts:
        part.begin = part.tap.last = time.monotonic()
    guest = vm.Guest(machine, log_path(opts.cache))
    try:
        shutil.copytree(folder, os.path.join(guest.job, "guest"))
        shutil.copy(os.path.join(os.path.dirname(folder), "tap.bash"), guest.job)
        shutil.copy(opts.overlay, os.path.join(guest.job, "overlay.tar"))
        guest.put("cmd", f"export MSHARE_RELEASE={release} MSHARE_CONFIG_SHA256={config}\n"
                         f"export MSHARE_PATCHED={opts.patched if wishes['kernel'] != 'stock' else 'no'}\n"
                         + tree + "".join(f"export {shlex.quote(word)}\n" for word in words) + "cd /run/job/guest\n"
                         + "".join(f"echo '## begin {n}'\nbash ./{part.name}\nprintf '\\n## end {n} %s\\n' $?\n"
                                   for n, part in enumerate(parts)) + "exit 0\n")
        reader = Reader(parts)
        result = guest.run(sum(float(part.wishes["limit"]) for part in parts), reader.on_output)
    finally:
        guest.close()

    reader.end()
    failed = 0
    for part in parts:
        if part is reader.now and (result.status or part.status is None):
            # It is the one that was at work when the guest ended, or the last of all.
            points = part.tap.finish(result.status or vm.NO_RESULT)
            if result.status >= vm.TIMEOUT and result.reason:
                points.append(("fail", result.reason))
                report.show(opts.results, result.context)
        elif part.status is None:
            points = [("fail", f"did not run: {result.reason or 'the guest stopped'}")]
        else:
            points = part.tap.finish(part.status)
        failed += judge(opts, part, points, result)
    return failed


def judge(opts: argparse.Namespace, part: Part, points: list[report.PointOf], result: vm.Result) -> int:
    """Shows and counts the points; returns how many failed."""
    if opts.verbose:
        for line in part.lines:
            vm.note(f"      | {line}")
    if report.counts(points)[1]:
        if not opts.verbose:
            report.show(opts.results, [line for line in part.lines if not line.startswith("ok ")][-60:])
        vm.note(f"      console: {result.console}")
    title = part.title(opts)
    report.append(opts.results, f"guest {title}", points)
    vm.note(f"    {title}: {report.words(points)} in {part.seconds or result.seconds:.0f} s")
    # The first point of the first script includes the boot.
    slow = report.slowest(part.tap.times)
    if slow:
        vm.note(f"    slowest: {slow}")
    return report.counts(points)[1]


def main() -> int:
    opts = parse()
    vm.clean_up_on_signals(and_without_parent=True)
    return report.FAILED if sum([run_guest(opts, parts) for parts in in_guests(opts)]) else 0


if __name__ == "__main__":
    sys.exit(main())
