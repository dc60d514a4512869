#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counting of test results.

A results file has one line per test: "pass", "fail" or "skip", the phase and
the test's name, separated by tabs. Every phase of ./run test appends to it,
and the sum is the run's last line.

  report.py tap RESULTS PHASE STATUS      TAP on standard input, from a program
                                          that exited with STATUS
  report.py meson RESULTS PHASE LOG       LOG is meson's testlog.json
  report.py sum RESULTS                   lists failures, prints the last line

The exit status is 3 if a failure was counted, and 1 or 2 if counting itself went
wrong. That of sum is 1 if there was a failure. The output of failures is shown at
once, and again with the sum, because CI keeps only the end of a long output. It is
in RESULTS.said.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence

# (outcome, name): the result of a test.
PointOf = tuple[str, str]

FAILED = 3

POINT = re.compile(r"(not )?ok\b\s*(\d+)?\s*-?\s*([^#]*?)\s*(?:#\s*(.*))?$", re.I)
PLAN = re.compile(r"1\.\.(\d+)\s*(?:#\s*(.*))?$")


def read_point(line: str) -> tuple[str, str, str] | None:
    """(outcome, name, directive) of a line that is a TAP point, or None for any other line."""
    match = POINT.match(line)
    if not match:
        return None
    bad, number, name, directive = match.groups()
    directive = directive or ""
    name = name or directive or f"test {number}"
    if re.match(r"(skip|xfail)", directive, re.I) or bad and re.match("todo", directive, re.I):
        return ("skip", name, directive)
    return ("fail" if bad else "pass", name, directive)


# (seconds, name): what a test took.
TimeOf = tuple[float, str]


class Tap:
    """Reads one TAP stream. Indented lines belong to inner tests and are not counted."""

    def __init__(self) -> None:
        self.points: list[PointOf] = []
        # How long each point took, if the stream is read as it comes.
        self.times: list[TimeOf] = []
        self.last = time.monotonic()
        self.plan: int | None = None
        self.bailed: str | None = None

    def feed(self, line: str) -> None:
        line = line.rstrip("\r\n")
        match = PLAN.match(line)
        if match:
            self.plan = int(match[1])
            if self.plan == 0:
                self.points.append(("skip", match[2] or "everything"))
            return
        if line.startswith("Bail out!"):
            self.bailed = line
            return
        point = read_point(line)
        if point:
            outcome, name, directive = point
            if outcome == "skip" and directive != name:
                name += f" ({directive})"
            self.points.append((outcome, name))
            now = time.monotonic()
            self.times.append((now - self.last, name))
            self.last = now

    def finish(self, status: int) -> list[PointOf]:
        """All points, plus a failure for each sign that the stream was cut short."""
        points = list(self.points)
        failed = any(outcome == "fail" for outcome, _ in points)
        if status == 4 and not points:
            return [("skip", "the whole program")]
        if self.bailed:
            points.append(("fail", self.bailed))
        elif self.plan is None:
            points.append(("fail", f"no TAP plan (exit status {status})"))
        elif self.plan and self.plan != len(points):
            points.append(("fail", f"{self.plan} tests planned, {len(points)} seen (exit status {status})"))
        elif status not in (0, 4) and not failed:
            points.append(("fail", f"exit status {status} although no test failed"))
        return points


def counts(points: Sequence[PointOf]) -> list[int]:
    """How many points passed, failed and were skipped."""
    return [sum(1 for outcome, _ in points if outcome == kind) for kind in ("pass", "fail", "skip")]


def words(points: Sequence[PointOf]) -> str:
    passed, failed, skipped = counts(points)
    text = f"{passed} passed"
    if failed:
        text += f", {failed} FAILED"
    if skipped:
        text += f", {skipped} skipped"
    return text


def slowest(times: Iterable[TimeOf], at_least: float = 5, most: int = 8) -> str:
    """The tests that took longest, in words; empty if all were fast."""
    chosen = sorted((t for t in times if t[0] >= at_least), reverse=True)[:most]
    return ", ".join(f"{name} {seconds:.0f} s" for seconds, name in chosen)


def append(results: str, phase: str, points: Iterable[PointOf]) -> None:
    with open(results, "a", encoding="utf-8") as file:
        for outcome, name in points:
            file.write(f"{outcome}\t{phase}\t{name}\n")


def read_tap(lines: Iterable[str], status: int) -> list[PointOf]:
    tap = Tap()
    for line in lines:
        tap.feed(line)
    return tap.finish(status)


def show(results: str, lines: Iterable[str]) -> None:
    """Print the details of a failure."""
    text = "".join(f"      | {line}\n" for line in lines)
    sys.stderr.write(text)
    sys.stderr.flush()
    with open(results + ".said", "a", encoding="utf-8") as file:
        file.write(text)


def from_tap(results: str, phase: str, status: str) -> int:
    points = read_tap(sys.stdin, int(status))
    append(results, phase, points)
    print(f"    {phase}: {words(points)}", file=sys.stderr)
    return FAILED if counts(points)[1] else 0


def said_by(lines: Sequence[str]) -> list[str]:
    """The failed points, each with the lines that follow it, and the last lines in any case."""
    bad = [index for index, line in enumerate(lines) if line.startswith("not ok")]
    chosen = {index + k for index in bad for k in range(20)} | set(range(len(lines) - 10, len(lines)))
    return [lines[index] for index in sorted(chosen) if 0 <= index < len(lines)]


def from_meson(results: str, phase: str, log: str) -> int:
    """A meson test that speaks TAP counts by its points, any other test counts once."""
    total: list[PointOf] = []
    with open(log, encoding="utf-8") as file:
        tests = [json.loads(line) for line in file if line.strip()]
    for test in tests:
        name, outcome, out = test["name"], test["result"], test.get("stdout", "")
        good = outcome in ("OK", "EXPECTEDFAIL")
        if re.search(r"^1\.\.\d+", out, re.M):
            points = read_tap(out.splitlines(), test.get("returncode", 0) if not good else 0)
            if not good and outcome != "SKIP" and not counts(points)[1]:
                points.append(("fail", outcome))
        else:
            points = [("pass" if good else "skip" if outcome == "SKIP" else "fail", outcome)]
        points = [(kind, f"{name}: {text}") for kind, text in points]
        if not good and outcome != "SKIP":
            show(results, said_by(out.splitlines()) + test.get("stderr", "").splitlines()[-25:])
        total += points
    append(results, phase, total)
    print(f"    {phase}: {len(tests)} programs, {words(total)}", file=sys.stderr)
    slow = slowest((test.get("duration", 0), test["name"]) for test in tests)
    if slow:
        print(f"    slowest: {slow}", file=sys.stderr)
    return FAILED if counts(total)[1] else 0


def summary(results: str) -> int:
    points = []
    if os.path.exists(results):
        with open(results, encoding="utf-8") as file:
            for line in file:
                outcome, phase, name = line.rstrip("\n").split("\t", 2)
                points.append((outcome, f"{phase}: {name}"))
    for kind, title in (("skip", "Skipped"), ("fail", "FAILED")):
        chosen = [name for outcome, name in points if outcome == kind]
        if chosen:
            print(f"{title}:")
            for name in chosen:
                print(f"  {name}")
        if chosen and kind == "fail" and os.path.exists(results + ".said"):
            print("What they said:")
            with open(results + ".said", encoding="utf-8", errors="replace") as file:
                print("".join(file.readlines()[-200:]), end="")
    passed, failed, skipped = counts(points)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


def main(argv: list[str]) -> int:
    verb, results, *rest = argv
    if verb == "tap":
        return from_tap(results, *rest)
    if verb == "meson":
        return from_meson(results, *rest)
    return summary(results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
