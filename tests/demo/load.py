#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Open connections to PostgreSQL, let each read a whole table, count what they cost.

load.py CONNECTIONS [--steps N,N,...] [--query SQL] [--region NAME] [--database NAME]

Runs in the guest as the server's user, who may read the backends' /proc. Prints
one line of JSON: per backend figures, and the machine's page tables before the
first connection and after each step. Progress goes to standard error.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import psycopg2


def page_tables():
    """Bytes of page tables of the whole machine, including a region's own."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("PageTables:"))


def minor_faults(pid):
    """The page faults of one process since it started."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return int(file.read().rsplit(") ", 1)[1].split()[7])


def own_tables(pid):
    """Bytes of page tables of one process, without the region's."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmPTE:"))


def private_bytes(pid):
    """Bytes of memory that a process does not share, and of its page tables."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return own_tables(pid) + next(int(line.split()[1]) << 10 for line in file if line.startswith("Pss_Anon:"))


def region_figures(name):
    out = subprocess.run(["msharectl", "status", name, "--json=short"], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out)


def parse():
    ap = argparse.ArgumentParser()
    ap.add_argument("connections", type=int)
    ap.add_argument("--steps", default="", help="numbers of connections to report page tables at")
    ap.add_argument("--query", default="SELECT count(*), sum(abalance) FROM pgbench_accounts")
    ap.add_argument("--region", help="name of the region that the server is in")
    ap.add_argument("--database", default="postgres")
    return ap.parse_args()


def main():
    opts = parse()
    steps = {int(step) for step in opts.steps.split(",") if step} | {opts.connections}
    before = page_tables()
    held, starts, scans, births, faults, tables, answers = [], [], [], [], [], [], set()
    curve = [[0, 0]]
    for number in range(1, opts.connections + 1):
        begin = time.monotonic()
        connection = psycopg2.connect(dbname=opts.database)
        starts.append(time.monotonic() - begin)
        connection.autocommit = True
        held.append(connection)
        pid = connection.info.backend_pid
        births.append(minor_faults(pid))
        begin = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(opts.query)
            answers.add(str(cursor.fetchone()))
        scans.append(time.monotonic() - begin)
        faults.append(minor_faults(pid))
        tables.append(own_tables(pid))
        if number in steps:
            curve.append([number, page_tables() - before])
            print(f"{number} connections", file=sys.stderr, flush=True)

    # Of ten: the kernel goes through all that the process maps.
    some = held[::max(1, len(held) // 10)]
    result = {
        "connections": opts.connections,
        "answers": sorted(answers),
        "page_tables_before": before,
        "page_tables_during": before + curve[-1][1],
        "curve": curve,
        "faults_at_birth": statistics.median(births),
        "faults": statistics.median(faults),
        "faults_in_scan": statistics.median(b - a for a, b in zip(births, faults)),
        "own_tables": statistics.median(tables),
        "own_tables_most": max(tables),
        "private_bytes": statistics.median(private_bytes(connection.info.backend_pid) for connection in some),
        "connect_seconds": statistics.median(starts),
        "scan_seconds": statistics.median(scans),
    }
    if opts.region:
        figures = region_figures(opts.region)
        result["sharers"] = figures["NSharers"]
        result["clients"] = figures["NClients"]
        result["region_tables"] = figures["PageTableBytes"]
        result["region_resident"] = figures["ResidentBytes"]
    for connection in held:
        connection.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
