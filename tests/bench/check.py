#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares counts that ./run bench has measured with those recorded in the tree.

check.py RECORDED DIRECTORY NAME...    counts of NAME.json in both; status 1 if they differ

Counts differ if they are off by more than 1 %, in either direction. Counts that depend on how CPUs or processes meet may be
off by more, as listed below. Times are not compared.
"""

import json
import os
import statistics
import sys
from typing import Iterable, Iterator

Row = dict[str, int | float | str]
Groups = dict[str, list[Row]]

TOLERANCE = 0.01
KIB = 1 << 10


class Bench:
    """What identifies a record of a benchmark, and what is compared: each count, and by how much it may be off in any
    case. Instructions depend on the compiler. Of records with the same identity, the medians are compared."""

    def __init__(self, identity: list[str], counts: dict[str, float], instructions: Iterable[str] = (),
                 tolerance: float = TOLERANCE, chance: tuple[str, list[str], float] | None = None) -> None:
        self.identity = identity
        self.usual = tolerance
        self.chance = chance
        self.counts = counts
        self.instructions: dict[str, float] = dict.fromkeys(instructions, 0)

    def key(self, row: Row) -> str:
        return " ".join(f"{name}={row[name]}" for name in self.identity if name in row)

    def tolerance(self, row: Row) -> float:
        """That of a record: chance is a key, values of it where chance decides, and the tolerance there."""
        if self.chance and row.get(self.chance[0]) in self.chance[1]:
            return self.chance[2]
        return self.usual

    def grouped(self, rows: list[Row]) -> Groups:
        groups: Groups = {}
        for row in rows:
            groups.setdefault(self.key(row), []).append(row)
        return groups


# Bytes of page tables are those of the whole guest, whose other processes come and go: from boot to boot they differed
# by up to 80 KiB.
MEMORY: dict[str, float] = {"table_bytes": 128 * KIB, "own_bytes": 0, "faults": 0, "refused": 0}
# Medians of backends, whose own memory and tables depend a little on addresses, which are random, and on when the
# server's other processes run.
SERVER = Bench(["kind", "version", "connections", "buffers_mib", "percent"],
               {"own_tables": 16 * KIB, "private_bytes": 64 * KIB, "faults": 40, "faults_in_scan": 20,
                "region_tables": 16 * KIB, "sharers": 3, "clients": 0})
BENCHES = {
    "sga": Bench(["kind", "mib", "processes"], MEMORY),
    "tables": Bench(["kind", "mib", "processes"], MEMORY),
    "faults": Bench(["kind", "mib", "processes"], MEMORY, ["nsec"]),
    # A switch takes one of two counts, 1.7 % apart, in all of a boot.
    "unused": Bench(["kernel", "state", "operation"], {}, ["instructions"], chance=("operation", ["context-switch"], 0.03)),
    # Workers on several CPUs meet by chance, in faults as in interrupts. How often a writer is overtaken is chance alone.
    "scale": Bench(["cpus", "what", "kind", "workers", "mib", "running", "sleeping", "readers"],
                   {"faults": 8, "table_bytes": 256 * KIB, "mprotect": 0.5, "munmap": 0.5}, tolerance=0.03),
    "postgres": SERVER,
    "postgres-13": SERVER,
    "postgres-testing": SERVER,
    "connections": SERVER,
    "flush": Bench(["kind", "others"], {}, ["mprotect", "munmap"]),
    # When the timer ends the sleep depends on what the guest did before. Where the other's work is in pieces with the
    # lock held, the call waits for the rest of one or of two of them: the medians of two runs differed by up to a factor of
    # 2.1. An extra fault makes three times as many where no call waits.
    "bound": Bench(["mib", "work"], {}, ["median"], chance=("work", [
        "MADV_POPULATE_READ", "smaps", "mincore", "MADV_COLD", "MADV_DONTNEED", "mmap-over", "munmap"], 1.2)),
}
WORDS = {"nsec": "instructions", "mprotect": "instructions of mprotect()", "munmap": "instructions of munmap()",
         "median": "median of instructions"}


def number(value: int | float | str) -> int | float | str:
    """Records keep a number with a fraction as it was printed."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def median(rows: list[Row], count: str) -> int | float | str | None:
    """None if no record has it. The error of a refused call is a word."""
    values = [number(row[count]) for row in rows if count in row]
    if not values:
        return None
    numbers = [value for value in values if not isinstance(value, str)]
    return statistics.median(numbers) if numbers else values[0]


def same(was: int | float | str, now: int | float | str, tolerance: float, least: float) -> bool:
    if isinstance(was, str) or isinstance(now, str):
        return was == now
    return abs(now - was) <= max(tolerance * abs(was), least)


def shown(value: int | float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def differences(name: str, recorded: dict, measured: dict) -> Iterator[str]:
    """One line for each count that differs, and each record that only one side has."""
    bench = BENCHES[name]
    limits = dict(bench.counts)
    if recorded.get("compiler") == measured.get("compiler"):
        limits.update(bench.instructions)
    old, new = bench.grouped(recorded["records"]), bench.grouped(measured["records"])
    for key in old.keys() - new.keys():
        yield f"{name}: {key}: recorded, but not measured"
    for key in new.keys() - old.keys():
        yield f"{name}: {key}: measured, but not recorded"
    for key in [key for key in old if key in new]:
        for count, least in limits.items():
            was, now = median(old[key], count), median(new[key], count)
            if was is None or now is None:
                if was != now:
                    yield f"{name}: {key}: {count} is {now}, recorded is {was}"
            elif not same(was, now, bench.tolerance(old[key][0]), least):
                what = WORDS.get(count, count) if count in bench.instructions else count
                yield f"{name}: {key}: {what} is {shown(now)}, recorded is {shown(was)}"


def read(folder: str, name: str) -> dict:
    with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
        return json.load(file)


def main() -> None:
    recorded, folder, *names = sys.argv[1:]
    bad = 0
    for name in names:
        if not os.path.exists(os.path.join(recorded, name + ".json")):
            print(f"{name}: nothing is recorded in {recorded}")
            bad += 1
            continue
        old, new = read(recorded, name), read(folder, name)
        if BENCHES[name].instructions and old.get("compiler") != new.get("compiler"):
            print(f"{name}: instructions are not compared: recorded with {old.get('compiler')}, "
                  f"now it is {new.get('compiler')}")
        for line in differences(name, old, new):
            print(line)
            bad += 1
    print(f"{bad} counts differ by more than they may from those recorded in {recorded}" if bad else
          f"counts are those recorded in {recorded}: {' '.join(names)}")
    if bad:
        print("If that is intended, remake them: ./run bench --out doc/results " + " ".join(names))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
