#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""check.py, on records made up here. Speaks TAP."""

import copy
import json
import os
import subprocess
import sys
import tempfile

import check

HERE = os.path.dirname(os.path.abspath(__file__))
CHECK = os.path.join(HERE, "check.py")
RESULTS = os.path.join(HERE, "../../doc/results")
PAGES = 1024 * 256
RECORDED = {"benchmark": "faults", "compiler": "gcc 12", "records": [
    {"kind": "plain", "mib": 1024, "processes": 0, "table_bytes": 2076672},
    {"kind": "plain", "mib": 1024, "processes": 10, "table_bytes": 23367680, "own_bytes": 2129920, "faults": 16388,
     "nsec": 108194849},
    {"kind": "region", "mib": 1024, "processes": 10, "table_bytes": 2367680, "own_bytes": 36864, "faults": 3,
     "nsec": 1579715}]}
failed = 0
number = 0


def run(measured, recorded=None, name="faults"):
    with tempfile.TemporaryDirectory() as folder:
        for part, content in (("old", recorded or RECORDED), ("new", measured)):
            os.mkdir(os.path.join(folder, part))
            with open(os.path.join(folder, part, name + ".json"), "w", encoding="utf-8") as file:
                json.dump(content, file)
        return subprocess.run([CHECK, os.path.join(folder, "old"), os.path.join(folder, "new"), name],
                              stdout=subprocess.PIPE, text=True, check=False)


def point(what, good, *explanation):
    global failed, number
    number += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} - {what}")
    if not good:
        for line in explanation:
            print("# " + line)


def case(what, status, words, change):
    """change() alters the measured result. Then the check exits with status and prints words."""
    measured = copy.deepcopy(RECORDED)
    change(measured, measured["records"])
    result = run(measured)
    point(what, result.returncode == status and words in result.stdout,
          f"status {result.returncode}, expected {status} and {words!r}:", *result.stdout.splitlines())


def setting(row, key, number_):
    return lambda result, rows: rows[row].update({key: number_})


case("the same counts pass", 0, "counts are those recorded", lambda result, rows: None)
case("an extra fault per page is found", 1, "kind=region mib=1024 processes=10: faults is 262,147, recorded is 3",
     setting(2, "faults", 3 + PAGES))
case("one fault more than three is found", 1, "faults is 4, recorded is 3", setting(2, "faults", 4))
case("less than 1 % passes", 0, "", setting(1, "faults", 16388 + 163))
case("more than 1 % is found", 1, "faults is 16,552", setting(1, "faults", 16388 + 164))
case("an improvement must be recorded, too", 1, "faults is 16,000", setting(1, "faults", 16000))
case("instructions are counted", 1, "instructions is 1,600,000", setting(2, "nsec", 1600000))
case("the guest's other page tables may differ a little", 0, "", setting(2, "table_bytes", 2367680 + 131072))
case("tables that grow are found", 1, "table_bytes is 2,498,753", setting(2, "table_bytes", 2367680 + 131073))
case("a page of tables more for a process is found", 1, "own_bytes is 40,960", setting(2, "own_bytes", 40960))
case("a missing record is found", 1, "processes=0: recorded, but not measured", lambda result, rows: rows.pop(0))
case("a new record is found", 1, "kind=new mib=1 processes=1: measured, but not recorded",
     lambda result, rows: rows.append({"kind": "new", "mib": 1, "processes": 1, "table_bytes": 1}))
case("a missing count is found", 1, "faults is None, recorded is 3", lambda result, rows: rows[2].pop("faults"))
case("with another compiler, instructions are not compared, and a line says so", 0, "instructions are not compared",
     lambda result, rows: (result.update(compiler="gcc 14"), rows[2].update(nsec=2000000)))
case("but faults are", 1, "faults is 4",
     lambda result, rows: (result.update(compiler="gcc 14"), rows[2].update(faults=4)))


def recorded_case(name):
    """On what is recorded in the tree: itself passes, and each of its counts is noticed if it is half as much again, or three
    times as much where chance decides."""
    with open(os.path.join(RESULTS, name + ".json"), encoding="utf-8") as file:
        recorded = json.load(file)
    bench = check.BENCHES[name]
    result = run(recorded, recorded, name)
    point(f"{name}: what is recorded passes", result.returncode == 0, *result.stdout.splitlines())
    for count in list(bench.counts) + list(bench.instructions):
        measured = copy.deepcopy(recorded)
        groups = {bench.key(row) for row in recorded["records"] if isinstance(check.number(row.get(count, "")), (int, float))}
        # So much that it is no small count.
        groups = {key for key in groups if check.median(bench.grouped(recorded["records"])[key], count) >
                  3 * bench.counts.get(count, 0)}
        if not groups:
            continue
        for row in measured["records"]:
            if bench.key(row) in groups:
                row[count] = check.number(row[count]) * (6 if bench.tolerance(row) > 0.5 else 3) // 2 + 1
        result = run(measured, recorded, name)
        lines = [line for line in result.stdout.splitlines() if f": {check.WORDS.get(count, count)} is" in line or
                 f": {count} is" in line]
        point(f"{name}: more of {count} is found in each of {len(groups)} records",
              result.returncode == 1 and len(lines) == len(groups), *result.stdout.splitlines())


for checked in check.BENCHES:
    if os.path.exists(os.path.join(RESULTS, checked + ".json")):
        recorded_case(checked)
print(f"1..{number}")
sys.exit(failed > 0)
