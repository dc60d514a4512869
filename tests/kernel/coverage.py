#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which lines of the kernel half do the selftests reach? Speaks TAP.

  coverage.py --notes DIR --data DIR --list FILE [--least PERCENT]

notes holds gcov's notes (.gcno) of the build, data a folder of counts (.gcda) for
each boot; what several boots have reached is added up. A point for each file of
ours: at least PERCENT (95) of its lines were executed. A point for each function
with lines that were not: the list says why. In the list, after a "#" line or an
empty one: "FUNCTION: why".
"""

import argparse
import collections
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
KERNEL_FILES = os.path.join(HERE, "../../kernel/files")
sys.path.insert(0, os.path.join(HERE, "../../bed"))

import reasons  # noqa: E402


def parse():
    ap = argparse.ArgumentParser()
    for name in ("notes", "data", "list"):
        ap.add_argument("--" + name, required=True)
    ap.add_argument("--least", type=float, default=95.0)
    return ap.parse_args()


def counts_of(notes, folder):
    """gcov's report of one boot: the files, as in its JSON."""
    with tempfile.TemporaryDirectory() as work:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".gcda"):
                shutil.copy(os.path.join(folder, name), work)
                shutil.copy(os.path.join(notes, name.replace(".gcda", ".gcno")), work)
                told = subprocess.run(["gcov", "--json-format", "--stdout", name], cwd=work, check=True,
                                      capture_output=True, text=True).stdout
                for line in told.splitlines():
                    if line:
                        yield from json.loads(line)["files"]


def enclosing(path, number):
    """The function in which that line of a kernel file is, by the kernel's style: gcov does not say it of a function
    that is inlined wherever it is called."""
    with open(os.path.join(KERNEL_FILES, path), encoding="utf-8") as file:
        heads = re.findall(r"^[a-z][^;={:]*?(\w+)\(", "".join(itertools.islice(file, number)), re.M)
    return heads[-1] if heads else "?"


def add_up(notes, data):
    """{file: {line: (count, function)}} over all boots."""
    total = collections.defaultdict(dict)
    for boot in sorted(os.listdir(data)):
        for file in counts_of(notes, os.path.join(data, boot)):
            lines = total[file["file"]]
            for line in file["lines"]:
                number = line["line_number"]
                function = line.get("function_name", "?")
                count, _ = lines.get(number, (0, function))
                lines[number] = (count + line["count"], function)
    return total


def main():
    opts = parse()
    known = reasons.read(opts.list, "FUNCTION")
    total = add_up(opts.notes, opts.data)
    ours = sorted(path for path in total if os.path.basename(path).startswith("mshare") and path.endswith(".c"))
    points = []
    missed = collections.defaultdict(list)
    for path in ours:
        lines = total[path]
        reached = sum(1 for count, _ in lines.values() if count)
        percent = 100.0 * reached / len(lines)
        points.append((percent >= opts.least, f"{path}: {reached} of {len(lines)} lines, {percent:.1f} %"))
        for number, (count, function) in sorted(lines.items()):
            if not count:
                if function == "?":
                    function = enclosing(path, number)
                missed[function].append(f"{os.path.basename(path)}:{number}")
    every = [count for path in ours for count, _ in total[path].values()]
    if not every:
        print("Bail out! no counts of any file of ours")
        return 1
    reached = sum(1 for count in every if count)
    points.append((reached >= opts.least / 100 * len(every),
                   f"all files: {reached} of {len(every)} lines, {100.0 * reached / len(every):.1f} %"))
    for function, places in missed.items():
        why = known.get(function)
        points.append((why is not None, f"{function}, not reached: {' '.join(places)}: {why or 'the list does not say why'}"))
    for number, (good, text) in enumerate(points, 1):
        print(f"{'' if good else 'not '}ok {number} - {text}")
    print(f"1..{len(points)}")
    for function in known:
        if function not in missed:
            print(f"# covered completely this time: {function}")
    return 0 if all(good for good, _ in points) else 1


if __name__ == "__main__":
    sys.exit(main())
