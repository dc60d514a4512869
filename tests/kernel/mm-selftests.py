#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's own selftests/mm on two kernels: nothing that passes on stock may
fail on mshare. Speaks TAP.

  mm-selftests.py --stock DIR --mshare DIR --initrd FILE --programs DIR
                  --disk FILE --cache DIR --list FILE [--keep DIR] [--only TEXT]

One boot for each kernel runs all commands of the list, in its order. Compared are
each point of a program that speaks TAP, each line of one that reports results
in words, and how the program ended:

  passes on both            pass
  passes on stock alone     fail, and so does what is skipped or missing on mshare
  fails on mshare alone     fail, even if it is skipped or missing on stock
  fails on stock alone      pass
  fails on both             skip, "fails on stock, too"
  skipped on both           skip, one for each line of the list

Commands with such a difference are run again, up to twice, on both kernels, and
so are those that fail on both: some of these tests depend on luck with time and
memory, above all in an emulator. A difference that is seen twice is a failure;
one that is seen once is a skip that says so. Complaints of the kernel on its
console are failures at once.
"""

import argparse
import collections
import itertools
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable

BED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bed")
sys.path.insert(0, BED)
import report  # noqa: E402
import vm  # noqa: E402
from guest import log_path  # noqa: E402

# The machine of both kernels: two nodes, for tests that migrate pages between them. With fewer than three CPUs one test
# would skip itself.
MEMORY, CPUS, APPEND, SWAP_MIB = "4096", 3, "numa=fake=2", 512

# Seconds for the start, and for everything between two commands, on a busy machine.
SPARE = 180

# How uffd-unit-tests, khugepaged and va_high_addr_switch report the result of a test.
WORDED = re.compile(r"(?:Testing )?(\S.*?)(?:\.\.\.[. ]*| - )(?:\x1b\[\d+m)?(OK|done|fail(?:ed)?|skip(?:ped)?|timeout)\b", re.I)
WORDS = {"ok": "pass", "do": "pass", "fa": "fail", "ti": "fail", "sk": "skip"}
ENDED = "its exit status"

# (number of the invocation, name of the point), and its result: (outcome, why).
Key = tuple[int, str]
Verdict = tuple[str, str]

# Succeeds only on stock: the comparison must notice.
CONTROL = "test ! -d /sys/fs/mshare"


class Invocation:
    """One command of the list."""

    def __init__(self, number: int, line: str, limit: int, settings: dict[str, str], command: str) -> None:
        self.number, self.line, self.limit = number, line, limit
        self.settings, self.command = settings, command


def expand(command: str) -> list[str]:
    """Braces as in the shell: one command for each choice."""
    parts = re.split(r"\{([^}]*)\}", command)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return [" ".join("".join(words).split()) for words in itertools.product(*choices)]


def read_list(path: str) -> tuple[list[Invocation], set[str]]:
    """The invocations, and the programs that are left out on purpose."""
    invocations: list[Invocation] = []
    left_out: set[str] = set()
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            text, _, why = text.partition("#")
            limit, *words = text.split() or [""]
            settings = {"hugepages": "0", "overcommit": "0"}
            while words and words[0].partition("=")[0] in settings:
                name, _, value = words.pop(0).partition("=")
                settings[name] = value
            if limit == "-" and len(words) == 1 and why.strip():
                left_out.add(words[0])
            elif limit.isdigit() and words:
                line = " ".join(words)
                for command in expand(line):
                    invocations.append(Invocation(len(invocations), line, int(limit), settings, command))
            elif limit:
                sys.exit(f"{path}:{number}: expected LIMIT [NAME=VALUE...] COMMAND, or - PROGRAM # WHY")
    return invocations, left_out


class Outcome:
    """The results of one invocation: points by name, in their order."""

    def __init__(self) -> None:
        self.points: dict[str, str] = {}
        self.lines: list[str] = []
        self.test = ""              # whose steps follow

    def add(self, outcome: str, name: str) -> None:
        # Addresses, names of temporary files and pagemap_ioctl's counts differ from run to run.
        name = re.sub(r"(Extra pages|extra thread faults) \d+( \([\d.]+%\))?", r"\1", name)
        name = re.sub(r"0x[0-9a-f]+|\bXXXXXX\b", "0x", re.sub(r"_[A-Za-z0-9]{6}\b(?=/)", "_X", name))
        name = name.replace("#", "no. ")
        key, count = name, 1
        while key in self.points:
            count += 1
            key = f"{name} ({count})"
        self.points[key] = outcome

    def feed(self, line: str) -> None:
        # Text that was overwritten on the terminal is removed.
        line = line.rpartition("\r")[2]
        self.lines.append(line)
        point = report.read_point(line)
        worded = WORDED.match(line)
        if line.startswith(("Run test: ", "# [RUN] ")):
            self.test = line.partition(": " if line[0] == "R" else "] ")[2] + ": "
        elif point:
            # If a test is announced, the words of its point depend on the result.
            self.add(point[0], self.test.rstrip(": ") or re.sub(r"^(SKIP|XFAIL) ", "", point[1]))
        elif worded:
            self.add(WORDS[worded[2][:2].lower()], self.test + worded[1])

    def end(self, status: int) -> None:
        self.add({0: "pass", 4: "skip"}.get(status, "fail"), ENDED)


class Boot:
    """One guest, and the results of the invocations in it."""

    def __init__(self, opts: argparse.Namespace, kind: str, invocations: list[Invocation]) -> None:
        self.opts, self.kind, self.invocations = opts, kind, invocations
        self.outcomes: dict[int, Outcome] = {}
        self.now: Outcome | None = None
        self.rest = b""
        self.over = False
        self.line_seconds = 0.0
        self.started = time.monotonic()
        self.until = 0.0            # when the guest counts as dead, in seconds from its start

    def alive(self, more: float) -> None:
        self.until = time.monotonic() - self.started + more

    def machine(self) -> vm.Machine:
        machine = vm.Machine(getattr(self.opts, self.kind))
        machine.initrd, machine.root = self.opts.initrd, self.opts.disk
        machine.memory, machine.cpus, machine.append = MEMORY, CPUS, APPEND
        machine.swap_mib = SWAP_MIB
        machine.accel, _ = vm.choose_accel(machine.kernel, self.opts.cache)
        return machine

    def on_output(self, data: bytes) -> None:
        if self.opts.keep:
            with open(os.path.join(self.opts.keep, self.kind), "ab") as file:
                file.write(data)
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            self.on_line(line.decode("utf-8", "replace").rstrip("\r"))

    def on_line(self, line: str) -> None:
        match = re.match(r"## (begin|end|over) ?(.*)$", line)
        if not match:
            if self.now:
                self.now.feed(line)
            return
        fields = match[2].split()
        if match[1] == "begin":
            self.now = self.outcomes[int(fields[0])] = Outcome()
            self.alive(next(i.limit for i in self.invocations if i.number == int(fields[0])) + SPARE)
        elif match[1] == "end":
            assert self.now, f"{line}: without its beginning"
            self.now.end(int(fields[1]))
            self.now = None
            self.alive(SPARE)
            self.line_seconds += float(fields[3]) - float(fields[2])
            self.progress(int(fields[0]))
        else:
            self.over = True
            self.alive(SPARE)

    def progress(self, number: int) -> None:
        """A progress line when a line of the list is finished."""
        here = [i for i in self.invocations if i.number in self.outcomes]
        last = here[-1]
        if [i for i in self.invocations if i.line == last.line][-1].number != number:
            return
        points = [(outcome, name) for i in here if i.line == last.line
                  for name, outcome in self.outcomes[i.number].points.items()]
        vm.note(f"      {last.line:<40} {report.words(points)} ({self.line_seconds:.1f} s)")
        self.line_seconds = 0.0

    def run(self) -> vm.Result:
        guest = vm.Guest(self.machine(), log_path(self.opts.cache))
        shutil.copy(os.path.join(BED, "guest", "mm-suite"), guest.job)
        guest.put("cmd", "exec sh /run/job/mm-suite <<'EOF'\n" + "".join(
            f"{i.number} {i.limit} {i.settings['hugepages']} {i.settings['overcommit']} {i.command}\n"
            for i in self.invocations) + "EOF\n")
        self.started = time.monotonic()
        self.alive(SPARE)
        return guest.run(lambda: self.until, self.on_output)


class Kernel:
    """All results of one of the two kernels."""

    def __init__(self, opts: argparse.Namespace, kind: str) -> None:
        self.opts, self.kind = opts, kind
        self.complaints: dict[str, str] = {}        # as reported, including what differs from run to run
        self.taint = 0
        self.lost = 0               # guests that did not start

    def run(self, invocations: list[Invocation]) -> dict[int, Outcome]:
        """Outcomes by number. A guest that dies takes one invocation with it, not
        those that come after. One that has not come up is started again, twice:
        a stock kernel was seen to hang in an emulator while it started CPUs."""
        outcomes: dict[int, Outcome] = {}
        while invocations:
            vm.note(f"    {self.kind} kernel, {len(invocations)} invocations")
            boot = Boot(self.opts, self.kind, invocations)
            result = boot.run()
            for line in result.complaints:
                text = re.sub(r"^\[[ .\d]*\](\[.*?\])? *", "", line)
                self.complaints.setdefault(re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+", "N", text), line)
            self.taint |= result.taint & vm.TAINT_BAD
            outcomes.update(boot.outcomes)
            if boot.over:
                break
            self.lost += not boot.outcomes
            if self.lost > 2:
                sys.exit(f"the guest with the {self.kind} kernel ran nothing: {result.reason}; {result.console}")
            if boot.now:
                boot.now.add("fail", ENDED)
            vm.note(f"      the guest ended: {result.reason}; console: {result.console}")
            invocations = [i for i in invocations if i.number not in outcomes]
        return outcomes


def judge(stock: str | None, mshare: str | None) -> Verdict:
    """(outcome, why) of a point with these results; None: there is no such point."""
    was = {"pass": "passes", "fail": "fails", "skip": "is skipped", None: "is missing"}
    if stock == "pass" and mshare != "pass" or mshare == "fail" and stock != "fail":
        return ("fail", f"{was[stock]} on stock, {was[mshare]} on mshare")
    if stock == "fail" and mshare != "pass":
        return ("skip", "fails on stock, too" if mshare == "fail" else f"fails on stock, {was[mshare]} on mshare")
    if mshare == "pass":
        return ("pass", "fails on stock" if stock == "fail" else "")
    return ("skip", "")


def compare(stock: dict[int, Outcome], mshare: dict[int, Outcome]) -> dict[Key, Verdict]:
    """{(number, point): (outcome, why)} from the outcomes of two kernels."""
    verdicts: dict[Key, Verdict] = {}
    for number in sorted(stock.keys() | mshare.keys()):
        ours = mshare[number].points if number in mshare else {}
        theirs = stock[number].points if number in stock else {}
        for name in [*theirs, *(name for name in ours if name not in theirs)]:
            verdicts[number, name] = judge(theirs.get(name), ours.get(name))
    return verdicts


def differing(verdicts: dict[Key, Verdict]) -> set[Key]:
    return {key for key, (outcome, _) in verdicts.items() if outcome == "fail"}


def times_seen(runs: Iterable[dict[Key, Verdict]]) -> collections.Counter[Key]:
    """How often each point differed."""
    return collections.Counter(key for verdicts in runs for key in differing(verdicts))


def show(outcome: Outcome) -> None:
    for line in [line for line in outcome.lines if not line.startswith("ok ")][-40:]:
        vm.note(f"      | {line}")


def points_of(verdicts: dict[Key, Verdict], invocations: list[Invocation]) -> list[tuple[str, str, str]]:
    """For the report; points that both skip are one point for each line of the list."""
    points: list[tuple[str, str, str]] = []
    skipped: dict[str, int] = {}
    for (number, name), (outcome, why) in verdicts.items():
        invocation = invocations[number]
        if outcome == "skip" and not why:
            skipped[invocation.line] = skipped.get(invocation.line, 0) + 1
        else:
            points.append((outcome, f"{invocation.command}: {name}", why))
    return points + [("skip", line, f"points that both kernels skip: {count}") for line, count in skipped.items()]


def listed_points(opts: argparse.Namespace, invocations: list[Invocation], left_out: set[str]) -> list[tuple[str, str, str]]:
    """No program is forgotten: the list is ours, the programs are the kernel's."""
    words = {word.rpartition("/")[2] for i in invocations for word in i.command.split()}
    there = set(os.listdir(opts.programs)) - {"bash-static"}
    named = {word for i in invocations for word in i.command.split() if word.startswith("./")}
    points = [("fail", name, "is neither run nor left out by the list") for name in sorted(there - words - left_out)]
    points += [("fail", name, "is in the list, but was not built") for name in sorted(
        {name[2:] for name in named} | left_out) if name not in there and not name.endswith(".sh")]
    return points or [("pass", "the list names every program, and no other", "")]


def parse() -> argparse.Namespace:
    ap = argparse.ArgumentParser()
    for name in ("stock", "mshare", "initrd", "programs", "disk", "cache", "list"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("--keep", help="directory for all that the programs print")
    ap.add_argument("--only", help="commands in which this text stands, no others")
    return ap.parse_args()


def main() -> int:
    opts = parse()
    vm.clean_up_on_signals(and_without_parent=True)

    invocations, left_out = read_list(opts.list)
    points = listed_points(opts, invocations, left_out)
    chosen = [i for i in invocations if not opts.only or opts.only in i.command]
    control = Invocation(len(invocations), CONTROL, 20, {"hugepages": "0", "overcommit": "0"}, CONTROL)
    stock, mshare = Kernel(opts, "stock"), Kernel(opts, "mshare")
    theirs, ours = stock.run([*chosen, control]), mshare.run([*chosen, control])
    verdicts = compare(theirs, ours)
    noticed = verdicts.pop((control.number, ENDED))[0] == "fail"
    points.append(("pass" if noticed else "fail", f"what succeeds on stock alone is noticed: {CONTROL}", ""))

    runs = [verdicts]
    for _ in range(2):
        seen = times_seen(runs)
        again = [i for i in chosen if any(
            number == i.number and seen[number, name] < 2 and (outcome == "fail" or outcome == "skip" and why)
            for (number, name), (outcome, why) in verdicts.items())]
        if again:
            vm.note("    again: " + ", ".join(i.command for i in again))
            runs.append(compare(stock.run(again), mshare.run(again)))
    seen = times_seen(runs)
    confirmed = {key for key, times in seen.items() if times > 1}
    differed = list(differing(verdicts))
    for key in {*differed, *confirmed}:
        why = next(run[key][1] for run in runs if key in run and run[key][0] == "fail")
        verdicts[key] = ("fail" if key in confirmed else "skip", f"{why}, in {seen[key]} of {len(runs)} runs")
    for number in sorted({number for number, _ in confirmed}):
        vm.note(f"    {invocations[number].command} on mshare:")
        if number in ours:
            show(ours[number])

    points += points_of(verdicts, invocations)
    for text, line in mshare.complaints.items():
        points.append(("skip", f"console: {line}", "says the stock kernel, too") if text in stock.complaints
                      else ("fail", f"console: {line}", "the stock kernel does not say that"))
    points += [("skip", f"a guest with the {kernel.kind} kernel did not come up", f"{kernel.lost} times, started again")
               for kernel in (stock, mshare) if kernel.lost]
    new = mshare.taint & ~stock.taint
    points.append(("fail", f"the kernel is tainted ({new})", "stock is not") if new
                  else ("pass", "the kernel is not tainted but as stock is", ""))
    for count, (outcome, name, why) in enumerate(points, 1):
        why = f" # SKIP {why}" if outcome == "skip" else f" ({why})" if why else ""
        print(f"{'not ok' if outcome == 'fail' else 'ok'} {count} - {name.replace('#', 'no.')}{why}")
    print(f"1..{len(points)}")
    vm.note(f"    {len(chosen)} invocations, {len(verdicts)} points compared: "
            f"{len(differed)} differed, {len(confirmed)} more than once")
    return 1 if any(outcome == "fail" for outcome, _, _ in points) else 0


if __name__ == "__main__":
    sys.exit(main())
