#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demonstration's table and verdict.

table.py PLAIN.json REGION.json BUFFER-BYTES

Both files as load.py prints them, with pgbench's figures added. The exit status
is 0 only if the second run really shared its page tables.
"""

import json
import sys


def kib(number):
    return f"{number / 1024:,.0f} KiB"


def mib(number):
    return f"{number / (1 << 20):,.1f} MiB"


def ms(seconds):
    return f"{seconds * 1000:,.1f} ms"


def grown(run):
    return run["page_tables_during"] - run["page_tables_before"]


def rows(plain, region):
    count = plain["connections"]
    yield ("page tables, idle server", *[kib(r["page_tables_before"]) for r in (plain, region)])
    yield (f"page tables, {count} connections", *[kib(r["page_tables_during"]) for r in (plain, region)])
    yield (f"  added by {count} connections", *[kib(grown(r)) for r in (plain, region)])
    yield ("page tables of one backend", *[kib(r["own_tables"]) for r in (plain, region)])
    yield ("minor faults of one backend", *[f"{r['faults']:,.0f}" for r in (plain, region)])
    yield ("  in its first scan of the buffers", *[f"{r['faults_in_scan']:,.0f}" for r in (plain, region)])
    yield ("first scan of the buffers", *[ms(r["scan_seconds"]) for r in (plain, region)])
    yield ("start of a connection", *[ms(r["connect_seconds"]) for r in (plain, region)])
    yield (f"pgbench -S, {count} clients: start of all", *[ms(r["pgbench_start"]) for r in (plain, region)])
    yield (f"pgbench -S, {count} clients: per second", *[f"{r['pgbench_tps']:,.0f}" for r in (plain, region)])
    yield ("page tables of the region, held once", "-", kib(region["region_tables"]))
    yield ("processes that share them", "-", f"{region['sharers']}")


def doubts(plain, region, buffers):
    """Reasons why the tables were not shared, as sentences."""
    count = plain["connections"]
    # What a process pays for the buffers if it has tables of its own: 8 bytes per page.
    own = buffers // 4096 * 8
    if plain["answers"] != region["answers"] or len(region["answers"]) != 1:
        yield f"the answers differ: {plain['answers']} and {region['answers']}"
    if region["sharers"] < count:
        yield f"{region['sharers']} processes share the region, fewer than the {count} connections"
    if region["clients"] != 1:
        yield f"the region has {region['clients']} clients, not the one server"
    if plain["own_tables"] < own:
        yield f"a plain backend has {plain['own_tables']} bytes of page tables: it has not read the buffers"
    if region["own_tables_most"] > plain["own_tables"] - own * 3 // 4:
        yield f"a backend in the region has {region['own_tables_most']} bytes of page tables of its own"
    if grown(region) > grown(plain) - count * own * 3 // 4:
        yield f"page tables grew by {grown(region)} bytes in the region, by {grown(plain)} plain"
    if region["faults_in_scan"] * 10 > plain["faults_in_scan"]:
        yield f"a backend in the region took {region['faults_in_scan']:.0f} faults in its first scan"


def main():
    runs = []
    for path in sys.argv[1:3]:
        with open(path, encoding="utf-8") as file:
            runs.append(json.load(file))
    plain, region = runs
    buffers = int(sys.argv[3])

    print(f"{plain['connections']} connections, each reads {mib(buffers)} of shared buffers:\n")
    print(f"  {'':42}{'plain':>14}{'in a region':>14}")
    for name, left, right in rows(plain, region):
        print(f"  {name:42}{left:>14}{right:>14}")

    saved = grown(plain) - grown(region)
    print(f"\nSaved: {saved:,} bytes of page tables ({mib(saved)}), "
          f"{saved // plain['connections']:,} bytes for each connection.")
    against = list(doubts(plain, region, buffers))
    for sentence in against:
        print(f"But {sentence}.")
    if against:
        print("Verdict: NOT SHARED.")
        return 1
    print(f"Verdict: shared. {region['sharers']} processes use one set of page tables, "
          f"{grown(plain) / max(grown(region), 1):.1f} times less memory for them.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
