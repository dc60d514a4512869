#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Results of ./run bench: records into JSON, JSON into tables and the plot.

report.py record DIRECTORY NAME KERNEL COMMIT    raw/NAME -> NAME.json
report.py summary DIRECTORY                      *.json -> results.md, pagetables.svg
"""

import json
import os
import subprocess
import sys
import time

MIB = 1 << 20
ORDER = ["tables", "faults", "unused", "postgres", "flush", "bound", "broker"]


def value(text):
    return int(text) if text.lstrip("-").isdigit() else text


def records(path):
    """Lines of key=value words, or of JSON; others are what programs say besides."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("{"):
                found.append(json.loads(line))
            elif "=" in line.split(" ", 1)[0]:
                found.append({k: value(v) for k, v in (word.split("=", 1) for word in line.split())})
    if not found:
        sys.exit(f"report.py: no records in {path}")
    return found


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} x {names[0]}"


def record(folder, name, kernel, commit):
    with open(os.path.join(kernel, "release"), encoding="ascii") as file:
        release = file.read().strip()
    accel = os.environ.get("MSHARE_ACCEL", "")
    result = {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "guest": accel or "emulated by QEMU where KVM does not boot the kernel",
        "kernel": release,
        "commit": commit,
        "records": records(os.path.join(folder, "raw", name)),
    }
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def mib(number):
    return f"{number / MIB:,.1f}"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + " ---: |" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def pick(rows, **wanted):
    return next(row for row in rows if all(row[k] == v for k, v in wanted.items()))


KINDS = {"plain": "plain", "thp": "transparent huge pages", "hugetlb": "hugetlb pages", "huge": "hugetlb pages",
         "region": "region"}


def kinds_of(rows):
    return list(dict.fromkeys(row["kind"] for row in rows))


def show_tables(rows):
    counts = list(dict.fromkeys(row["processes"] for row in rows))
    yield f"### Page tables of {rows[0]['mib']} MiB that N processes read, MiB"
    yield ""
    yield from table(["memory"] + [f"N = {n}" for n in counts],
                     ([KINDS[kind]] + [mib(pick(rows, kind=kind, processes=n)["table_bytes"]) for n in counts]
                      for kind in kinds_of(rows)))
    last = counts[-1]
    yield ""
    yield (f"Of the region's {mib(pick(rows, kind='region', processes=last)['table_bytes'])} MiB with {last} processes, "
           f"{mib(pick(rows, kind='region', processes=0)['table_bytes'])} are the region's; the rest is what "
           "each process has for its own program.")


def show_faults(rows):
    counts = [n for n in dict.fromkeys(row["processes"] for row in rows) if n]
    yield f"### Page faults and instructions of the N-th process to read {rows[0]['mib']} MiB"
    yield ""
    yield from table(["memory"] + [f"faults, N = {n}" for n in counts] + [f"instructions, N = {n}" for n in counts],
                     ([KINDS[kind]] + [f"{pick(rows, kind=kind, processes=n)['faults']:,}" for n in counts] +
                      [f"{pick(rows, kind=kind, processes=n)['nsec']:,}" for n in counts]
                      for kind in kinds_of(rows)))
    yield ""
    yield "The kernel maps 16 pages of a shared mapping with each fault, where they are there."


def show_unused(rows):
    yield "### The patched kernel where no region is used, instructions"
    yield ""
    names = list(dict.fromkeys(row["operation"] for row in rows))
    body = []
    for name in names:
        stock = pick(rows, kernel="stock", operation=name)["instructions"]
        patched = pick(rows, kernel="mshare", operation=name)["instructions"]
        body.append([name, f"{stock:,}", f"{patched:,}", f"{(patched / stock - 1) * 100:+.1f} %"])
    yield from table(["operation", "stock", "mshare", "difference"], body)


def show_postgres(rows):
    yield f"### PostgreSQL, {rows[0]['connections']} connections that each read a table of 260 MiB in the shared buffers"
    yield ""
    body = []
    for row in rows:
        body.append([KINDS[row["kind"]], mib(row["curve"][-1][1]), f"{row['own_tables'] / 1024:,.0f}",
                     f"{row['faults']:,.0f}", f"{row['faults_in_scan']:,.0f}"])
    yield from table(["memory", "page tables added, MiB", "one backend's, KiB", "faults of one backend",
                      "in its first scan"], body)
    yield ""
    yield ("Times are in the JSON and not here: the kinds run one after another, for minutes, so they compare only "
           "on a machine that does nothing else.")


def show_flush(rows):
    yield "### Taking a right or a page away while N others are idle, instructions"
    yield ""
    counts = list(dict.fromkeys(row["others"] for row in rows))
    body = []
    for call in ("mprotect", "munmap"):
        for kind, words in (("region", "region with N sharers"), ("threads", "process with N threads")):
            body.append([f"{call}, {words}"] +
                        [f"{pick(rows, kind=kind, others=n)[call]:,}" for n in counts])
    yield from table(["call"] + [f"N = {n}" for n in counts], body)


def show_bound(rows):
    yield "### mprotect() of one page while another sharer works on all of the region, instructions"
    yield ""
    sizes = list(dict.fromkeys(row["mib"] for row in rows))
    body = []
    for work in dict.fromkeys(row["work"] for row in rows):
        cells = [work.replace("-", " ").replace("+", ", ")]
        for size in sizes:
            row = pick(rows, mib=size, work=work)
            worst = row["worst"] / pick(rows, mib=size, work="alone")["worst"]
            cells += [f"{row['median']:,}", f"{row['worst']:,} ({worst:.1f})"]
        body.append(cells)
    yield from table(["the other's work"] + [f"{words}, {size} MiB" for size in sizes
                                             for words in ("median", "worst (times alone)")], body)


def show_broker(rows):
    yield "### The broker"
    yield ""
    body = []
    for row in rows:
        if "median_nsec" in row:
            body.append([f"{row['call']}, one connection, {row['rounds']} times", f"{row['median_nsec'] / 1e6:.2f}",
                         f"{row['p99_nsec'] / 1e6:.2f}", "-"])
        else:
            what = "acquire, all at once" if row["call"] == "herd" else "killed, all at once"
            body.append([f"{row['count']} clients {what}", f"{row['each_nsec'] / 1e6:.2f}", "-",
                         f"{row['all_nsec'] / 1e9:.2f}"])
    yield from table(["what", "each, ms (median)", "99th percentile, ms", "all, s"], body)


def origin(result):
    return (f"Kernel {result['kernel']}, commit {result['commit']}, {result['date']}; {result['machine']}, "
            f"load at the end {result['load']}." + (" " + result["note"] if "note" in result else ""))


def plot(folder, rows):
    """Page tables against connections, from the curves of the PostgreSQL benchmark."""
    script = ["set terminal svg size 760,440 dynamic font 'sans-serif,13' background rgb 'white'",
              f"set output '{os.path.join(folder, 'pagetables.svg')}'",
              "set title 'Page tables that connections add to PostgreSQL, 260 MiB of shared buffers read by each'",
              "set xlabel 'connections'", "set ylabel 'MiB'", "set key left top", "set grid lc rgb '#dddddd'",
              "set style line 1 lw 2.5 lc rgb '#c0392b'", "set style line 2 lw 2.5 lc rgb '#7f8c8d'",
              "set style line 3 lw 2.5 lc rgb '#2471a3'"]
    curves = []
    for number, row in enumerate(rows, 1):
        script.append(f"$c{number} << EOD")
        script += [f"{connections} {grown / MIB:.4f}" for connections, grown in row["curve"]]
        script.append("EOD")
        curves.append(f"$c{number} with lines ls {number} title '{KINDS[row['kind']]}'")
    script.append("plot " + ", ".join(curves))
    subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)


def summary(folder):
    shows = {name: globals()["show_" + name] for name in ORDER}
    text = ["<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->", "<!-- Made by ./run bench. -->", ""]
    for name in ORDER:
        path = os.path.join(folder, name + ".json")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        text += list(shows[name](result["records"])) + ["", origin(result), ""]
        if name == "postgres":
            plot(folder, result["records"])
    with open(os.path.join(folder, "results.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text).rstrip("\n") + "\n")


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    {"record": record, "summary": summary}[verb](*args)


if __name__ == "__main__":
    main()
