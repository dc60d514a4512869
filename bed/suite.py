#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kernel selftests in guests: the programs of tests/kernel/selftests.list.

  suite.py --kernel DIR --kind mshare|debug|lean|coverage|kcsan --initrd FILE --cache DIR --list FILE
           --sources DIR --results FILE --which shared|tables|rest|alone|only [--only NAMES]
           --patched yes|no [--pti on|off] [--la57 on|off] [--coverage DIR] [--races FILE]

One boot runs every program of the list, a program tagged "alone" gets its own,
those with the same "alone=WORD" share one.
Every TAP point counts; so does, once per boot, whether the kernel stayed quiet.
What a kernel of kind coverage has counted goes to DIR, in a folder for each boot.
--races names the data races of stock code that KCSAN may report.
"""

import argparse
import base64
import os
import sys
from collections.abc import Iterable

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import races  # noqa: E402
import report  # noqa: E402
import vm  # noqa: E402
from guest import log_path, on_off  # noqa: E402

# Limits in seconds for a program that the list does not name yet.
DEFAULT_LIMIT = {"mshare": 400, "debug": 800, "lean": 800, "coverage": 800, "kcsan": 800}


class Program:
    def __init__(self, name: str, limit: int, tags: Iterable[str] = ()) -> None:
        self.name = name
        self.limit = limit
        self.tags = tuple(tags)
        self.points: list[report.PointOf] | None = None     # None: did not run

    @property
    def alone(self) -> str | None:
        """The name of a boot of its own, which programs with the same word share; None: the common boot."""
        return self.name if "alone" in self.tags else self.tag("alone")

    def tag(self, key: str) -> str | None:
        """The value of "key=value" among the tags, or None."""
        for tag in self.tags:
            if tag.startswith(key + "="):
                return tag[len(key) + 1:]
        return None


def tags(programs: Iterable[Program], key: str) -> list[str]:
    """The values of that key in these programs."""
    return [value for value in (program.tag(key) for program in programs) if value]


def read_list(path: str, kind: str) -> list[Program]:
    column = 1 if kind == "mshare" else 2
    programs = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            fields = line.split("#")[0].split()
            if not fields:
                continue
            if len(fields) < 3 or not (fields[1] + fields[2]).replace("-", "").isdigit():
                sys.exit(f"{path}:{number}: expected NAME LIMIT LIMIT-ON-DEBUG [TAG...], got: {line.strip()}")
            if fields[column] != "-":
                programs.append(Program(fields[0], int(fields[column]), fields[3:]))
    return programs


def add_unlisted(programs: list[Program], sources: str, listed: set[str], kind: str) -> None:
    """A program that is not in the list is run, too."""
    for entry in sorted(os.listdir(sources) if os.path.isdir(sources) else []):
        name, ext = os.path.splitext(entry)
        if ext != ".c" or not name.startswith("mshare_") or name in listed:
            continue
        with open(os.path.join(sources, entry), encoding="utf-8") as file:
            text = file.read()
        if "TEST_HARNESS_MAIN" in text or "main(" in text:
            vm.note(f"    {name} is not in selftests.list: default time limit")
            programs.append(Program(name, DEFAULT_LIMIT[kind]))


class Boot:
    """One guest, the programs that it runs, and their results."""

    def __init__(self, opts: argparse.Namespace, title: str, programs: list[Program]) -> None:
        self.opts = opts
        self.title = title
        self.programs = programs
        self.by_name = {program.name: program for program in programs}
        self.rest = b""
        self.tap: report.Tap | None = None
        self.lines: list[str] = []
        self.leaks: list[str] | None = None
        self.times: list[report.TimeOf] = []
        self.coverage: dict[str, list[str]] = {}        # name of a file: its lines, in base64
        self.counted: list[str] | None = None           # the last of these
        self.over = False
        self.has_mshare = False

    def machine(self) -> vm.Machine:
        opts = self.opts
        machine = vm.Machine(opts.kernel)
        machine.initrd = opts.initrd
        machine.swap_mib = 256
        machine.pti, machine.la57 = opts.pti, opts.la57
        machine.memory = str(max([2048 if opts.kind != "mshare" else 1024, *map(int, tags(self.programs, "memory"))]))
        machine.cpus = max([2, *map(int, tags(self.programs, "cpus"))])
        machine.cpu_options = ",".join(tags(self.programs, "cpu"))
        words = [tag[7:] for p in self.programs for tag in p.tags if tag.startswith("append=")]
        machine.append = " ".join(dict.fromkeys(words))
        machine.accel, _ = vm.choose_accel(opts.kernel, opts.cache)
        return machine

    def on_output(self, data: bytes) -> None:
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            self.on_line(line.decode("utf-8", "replace"))

    def on_line(self, line: str) -> None:
        if line.startswith("## "):
            _, word, *rest = line.split()
            if word == "begin":
                self.tap, self.lines = report.Tap(), []
            elif word == "end":
                self.end(*rest)
            elif word == "mshare":
                self.has_mshare = rest[0] == "yes"
            elif word == "leaks":
                self.leaks = []
            elif word == "coverage":
                self.counted = self.coverage[rest[0]] = []
            elif word == "over":
                self.over = True
        elif self.counted is not None:
            self.counted.append(line)
        elif self.leaks is not None:
            self.leaks.append(line)
        elif self.tap:
            self.tap.feed(line)
            self.lines.append(line)

    def end(self, name: str, exit_status: str, begin: str, end: str) -> None:
        program, status, tap = self.by_name[name], int(exit_status), self.tap
        assert tap, f"{name} has an end but no beginning"
        if status == 127 and not tap.points:
            program.points = [("fail", "does not compile" if self.lines else "no such program in the guest")]
        elif status == 137:
            program.points = tap.points + [("fail", f"killed: over its limit of {program.limit} s")]
        else:
            program.points = tap.finish(status)
        self.times += [(taken, f"{name}:{text.split('.')[-1]}") for taken, text in tap.times]
        seconds = float(end) - float(begin)
        vm.note(f"      {name:<22} {report.words(program.points)} ({seconds:.1f} s)")
        if report.counts(program.points)[1]:
            self.show_failure()
        self.tap = None

    def show_failure(self) -> None:
        shown = [line for line in self.lines if not line.startswith(("ok ", "#  RUN", "#            OK"))]
        report.show(self.opts.results, shown[-60:])

    def run(self) -> tuple[int, int]:
        """How many points passed and failed."""
        vm.note(f"    {self.title}")
        guest = vm.Guest(self.machine(), log_path(self.opts.cache))
        if self.opts.races:
            guest.races = races.Races(races.read_list(self.opts.races), "mshare")
        env = [tag[4:] for program in self.programs for tag in program.tags if tag.startswith("env=")]
        if self.opts.geometry:
            env.append("MSHARE_GEOMETRY=" + self.opts.geometry)
        exports = "".join(f"export {pair}\n" for pair in env)
        lines = "".join(f"{program.name} {program.limit}\n" for program in self.programs)
        guest.put("cmd", f"{exports}exec /tests/suite <<'EOF'\n{lines}EOF\n")
        result = guest.run(180 + sum(program.limit for program in self.programs), self.on_output)
        if guest.races:
            for functions, times in sorted(guest.races.seen.items()):
                vm.note(f"      race of stock code, {times} times: {functions}")
        points = []
        for program in self.programs:
            if program.points is None:
                program.points = [("fail", f"did not finish: {result.reason or 'the guest stopped'}")]
            points += [(kind, f"{program.name}: {text}") for kind, text in program.points]
        points.append(self.kernel_point(result))
        # The programs skip their tests if the feature is missing. That is not allowed
        # here.
        if self.opts.patched == "yes":
            points.append(("pass" if self.has_mshare else "fail", "the patched kernel has mshare"))
        if self.leaks is not None:
            points.append(("fail", "kmemleak found lost memory") if self.leaks
                          else ("pass", "kmemleak found no lost memory"))
            report.show(self.opts.results, self.leaks[:60])
        if self.opts.coverage:
            self.save_coverage()
        report.append(self.opts.results, self.title, points)
        passed, failed, _ = report.counts(points)
        vm.note(f"    {self.title}: {report.words(points)} in {result.seconds:.0f} s")
        slow = report.slowest(self.times)
        if slow:
            vm.note(f"    slowest: {slow}")
        return passed, failed

    def save_coverage(self) -> None:
        folder = os.path.join(self.opts.coverage, str(len(os.listdir(self.opts.coverage))))
        os.mkdir(folder)
        for name, lines in self.coverage.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(base64.b64decode("".join(lines)))

    def kernel_point(self, result: vm.Result) -> report.PointOf:
        if result.status == 0 and self.over:
            return ("pass", "the kernel had no complaint")
        vm.note(f"      {result.reason or 'the suite did not finish'}; console: {result.console}")
        report.show(self.opts.results, result.context)
        return ("fail", result.reason or "the suite did not finish")


def parse() -> argparse.Namespace:
    ap = argparse.ArgumentParser()
    for name in ("kernel", "initrd", "cache", "results", "list", "sources"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("--kind", choices=tuple(DEFAULT_LIMIT), required=True)
    ap.add_argument("--pti", type=on_off)
    ap.add_argument("--la57", type=on_off)
    ap.add_argument("--patched", choices=("yes", "no"), required=True)
    ap.add_argument("--which", choices=("shared", "tables", "rest", "alone", "only"), required=True)
    ap.add_argument("--geometry", choices=("unit", "mixed"), help="how the tests' regions are linked, if not by 1 GiB")
    ap.add_argument("--coverage")
    ap.add_argument("--races")
    ap.add_argument("--only", default="", help="names of programs, with blanks between them")
    return ap.parse_args()


def main() -> int:
    opts = parse()
    vm.clean_up_on_signals(and_without_parent=True)

    listed = {program.name for kind in DEFAULT_LIMIT for program in read_list(opts.list, kind)}
    programs = read_list(opts.list, opts.kind)
    add_unlisted(programs, opts.sources, listed, opts.kind)
    if opts.which == "only":
        programs = [program for program in programs if program.name in opts.only.split()]
    words = {None: "", True: " on", False: " off"}
    title = f"{opts.kind} kernel"
    if opts.pti is not None:
        title += f", pti{words[opts.pti]}"
    if opts.la57 is not None:
        title += f", la57{words[opts.la57]}"
    if opts.geometry:
        title += f", geometry {opts.geometry}"

    boots = []
    if opts.which in ("alone", "only"):
        groups: dict[str, list[Program]] = {}
        for program in programs:
            if program.alone:
                groups.setdefault(program.alone, []).append(program)
        boots = [Boot(opts, f"{title}, {' and '.join(p.name for p in group)} alone", group) for group in groups.values()]
    if opts.which != "alone":
        shared = [p for p in programs if not p.alone]
        if opts.which in ("tables", "rest"):
            shared = [p for p in shared if ("tables" in p.tags) == (opts.which == "tables")]
            title += f", {opts.which}"
        boots.insert(0, Boot(opts, title, shared))
    boots = [boot for boot in boots if boot.programs]
    if not boots and opts.which == "shared":
        vm.note("    there are no kernel selftests: nothing counted")
    return report.FAILED if sum(boot.run()[1] for boot in boots) else 0


if __name__ == "__main__":
    sys.exit(main())
