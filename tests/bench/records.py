#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Results of ./run bench: records into JSON, JSON into tables and the plot.

records.py record DIRECTORY NAME KERNEL COMMIT    raw/NAME -> NAME.json; KERNEL "here": this machine's
records.py summary DIRECTORY                      *.json -> results.md, sga.svg, pagetables.svg
"""

import json
import os
import statistics
import subprocess
import sys
import time

MIB = 1 << 20
GIB = 1 << 30
# What nanoseconds are: in an emulated guest that counts, instructions.
UNIT = "instructions"
ORDER = ["sga", "tables", "faults", "unused", "scale", "postgres", "postgres-13", "postgres-testing", "connections",
         "pgbench", "flush", "bound", "broker"]


def value(text):
    return int(text) if text.lstrip("-").isdigit() else text


def records(path):
    """Lines of key=value words, or of JSON. Other lines are messages of programs."""
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith("{"):
                found.append(json.loads(line))
            elif "=" in line.split(" ", 1)[0]:
                found.append({k: value(v) for k, v in (word.split("=", 1) for word in line.split())})
    if not found:
        sys.exit(f"records.py: no records in {path}")
    return found


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} x {names[0]}"


def compiler():
    return subprocess.run(["gcc", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[0]


def record(folder, name, kernel, commit):
    here = kernel == "here"
    if here:
        release = os.uname().release
    else:
        with open(os.path.join(kernel, "release"), encoding="ascii") as file:
            release = file.read().strip()
    accel = "none, the machine itself" if here else os.environ.get("MSHARE_ACCEL", "")
    result = {
        "here": here,
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "load": round(os.getloadavg()[0], 1),
        "guest": accel or "emulated by QEMU where KVM does not boot the kernel",
        "kernel": release,
        "compiler": compiler(),
        "commit": commit,
        "records": records(os.path.join(folder, "raw", name)),
    }
    with open(os.path.join(folder, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def mib(number):
    # Tables that shrank by some KiB are 0.0 and not -0.0 MiB.
    return f"{round(number / MIB, 1) + 0.0:,.1f}"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + " ---: |" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def pick(rows, **wanted):
    return next(row for row in rows if all(row[k] == v for k, v in wanted.items()))


KINDS = {"plain": "plain", "thp": "transparent huge pages", "hugetlb": "hugetlb pages", "huge": "hugetlb pages",
         "hugetlb-aligned": "hugetlb pages at a multiple of 1 GiB", "region": "region",
         "region-thp": "region with transparent huge pages", "region-hugetlb": "region with hugetlb pages"}


def kinds_of(rows):
    return list(dict.fromkeys(row["kind"] for row in rows))


def accepted(rows):
    return [row for row in rows if "refused" not in row]


def refusals(rows):
    """A row with the error for each kind that the kernel refuses, in a table of that many more columns."""
    return lambda columns: [[KINDS[row["kind"]], f"refused ({row['refused']})"] + ["-"] * (columns - 1)
                            for row in rows if "refused" in row]


class Plain:
    """Page tables of plain processes in the benchmark sga: measured values, and a line through them."""

    def __init__(self, rows):
        self.measured = {row["processes"]: row["table_bytes"] for row in rows
                         if row["kind"] == "plain" and "processes" in row}
        first, self.last = min(self.measured), max(self.measured)
        self.slope = (self.measured[self.last] - self.measured[first]) / (self.last - first)

    def bytes(self, processes):
        return self.measured[self.last] + self.slope * (processes - self.last)

    def limit(self, size):
        """The number of processes whose tables exceed that many bytes."""
        return int(self.last + (size - self.measured[self.last]) / self.slope) + 1


def show_sga(rows):
    plain = Plain(rows)
    made = pick([row for row in rows if "processes" in row], kind="region", processes=0)
    region = [row for row in rows if row["kind"] == "region" and row.get("processes")]
    begun = [row for row in rows if row["kind"] == "plain" and "processes" in row]
    ended = next(row for row in rows if row["kind"] == "region" and "ended" in row)
    plain_ended = next(row for row in rows if row["kind"] == "plain" and "ended" in row)
    checked = {row["processes"] for row in region}
    yield f"### Page tables of the cover letter's server: {made['mib'] // 1024} GiB that N processes map"
    yield ""
    body = []
    for count in sorted(checked | set(plain.measured)):
        cells = [f"{count:,}"]
        cells.append(mib(plain.measured[count]) if count in plain.measured else f"({mib(plain.bytes(count))})")
        if count in checked:
            row = pick(region, processes=count)
            cells += [mib(row["table_bytes"]), f"{row['own_bytes'] // 1024}", f"{row['faults']:,}"]
        else:
            cells += ["-", "-", "-"]
        body.append(cells)
    yield from table(["N", "plain, MiB", "region, MiB", "the N-th process's own, KiB", "its faults"], body)
    yield ""
    yield (f"Plain is measured up to {plain.last} processes, where the guest's memory ends. Figures in brackets are "
           f"extrapolated by the slope of those measured, {mib(plain.slope)} MiB for each process: they pass 512 GiB "
           f"with process {plain.limit(512 * GIB):,}. The region is measured throughout; its own tables are "
           f"{made['table_bytes'] // 1024:,} kB. The buffer is a file of 1 GiB that is mapped {made['mib'] // 1024} "
           "times in a row. The first process checks the contents of every page, the others of one page in every "
           "16 MiB, or 2 MiB in rows of this table.")
    yield ""
    touch, fill = begun[-1]["read_nsec"], begun[0]["read_nsec"]
    yield (f"Emulated, so only ratios mean something. To populate the region once took {made['populate_nsec'] / fill:.1f} "
           "times as long as it took the first plain process to read all pages, and each plain process does that again. "
           f"To attach took {region[-1]['attach_nsec'] / (begun[-1]['attach_nsec'] or 1):.2f} times as long as the "
           f"{made['mib'] // 1024} mmap() calls of a plain process; to read one page of every 2 MiB, "
           f"{region[-1]['read_nsec'] / touch:.2f} times as long as plain. "
           f"All {ended['ended']:,} processes were gone after {ended['exit_nsec'] / 1e9:.1f} s, mshare_unlink() took "
           f"{ended['unlink_nsec'] / 1e6:.1f} ms, and the tables were free {ended['tables_gone_nsec'] / 1e9:.1f} s "
           "later. A worker of the kernel frees them; neither the exit of the last process nor mshare_unlink() waits "
           f"for it. {plain_ended['ended']} plain processes took {plain_ended['exit_nsec'] / 1e9:.1f} s to exit, since "
           "each frees its own tables. The stop of a unit was not measured.")


def show_tables(rows):
    refused = refusals(rows)
    rows = accepted(rows)
    counts = list(dict.fromkeys(row["processes"] for row in rows))
    yield f"### Page tables of {rows[0]['mib']} MiB that N processes read, MiB"
    yield ""
    yield from table(["memory"] + [f"N = {n}" for n in counts],
                     [[KINDS[kind]] + [mib(pick(rows, kind=kind, processes=n)["table_bytes"]) for n in counts]
                      for kind in kinds_of(rows)] + refused(len(counts)))
    # By the slope between the first and the last: the one measured without processes is as uncertain as each other.
    first, last = counts[1], counts[-1]
    begin, end = (pick(rows, kind="region", processes=count)["table_bytes"] for count in (first, last))
    own = begin - first * (end - begin) / (last - first)
    yield ""
    yield (f"Of the region's {mib(end)} MiB with {last} processes, {mib(own)} are the region's; the rest is what each "
           "process has for its own program. Figures may be off by 0.2 MiB: the kernel sums up what each CPU has counted "
           "only from time to time.")


def show_faults(rows):
    refused = refusals(rows)
    rows = accepted(rows)
    counts = [n for n in dict.fromkeys(row["processes"] for row in rows) if n]
    yield f"### Page faults and {UNIT} of the N-th process to read {rows[0]['mib']} MiB"
    yield ""
    head = (["memory"] + [f"faults, N = {n}" for n in counts] + [f"{UNIT}, N = {n}" for n in counts] +
            [f"its own tables, KiB, N = {counts[-1]}"])
    yield from table(head,
                     [[KINDS[kind]] + [f"{pick(rows, kind=kind, processes=n)['faults']:,}" for n in counts] +
                      [f"{pick(rows, kind=kind, processes=n)['nsec']:,}" for n in counts] +
                      [f"{pick(rows, kind=kind, processes=counts[-1])['own_bytes'] // 1024:,}"]
                      for kind in kinds_of(rows)] + refused(len(head) - 1))
    yield ""
    yield "The kernel maps 16 pages of a shared mapping with each fault, where they are there."
    if "hugetlb-aligned" in kinds_of(rows):
        yield ("At a multiple of 1 GiB, Linux shares a page of tables for each GiB of hugetlb pages, and of no other "
               "memory.")


def show_unused(rows):
    def median(kernel, operation, state):
        return int(statistics.median(row["instructions"] for row in rows if row["kernel"] == kernel and
                                     row["operation"] == operation and row.get("state", "none") == state))

    yield "### The patched kernel for a process that uses no region, instructions"
    yield ""
    states = {"none": "no region", "elsewhere": "a region elsewhere", "window": "beside a window"}
    measured = {row.get("state", "none") for row in rows}
    states = {state: words for state, words in states.items() if state in measured}
    head = ["operation", "stock"]
    for state, words in states.items():
        head += ["stock, a mapping more"] * (state == "window") + [words, "ratio"]
    body = []
    for name in dict.fromkeys(row["operation"] for row in rows):
        stock = median("stock", name, "none")
        cells = [name, f"{stock:,}"]
        for state in states:
            if state == "window":
                stock = median("stock", name, "mapping")
                cells.append(f"{stock:,}")
            patched = median("mshare", name, state)
            cells += [f"{patched:,}", f"{patched / stock:.3f}"]
        body.append(cells)
    yield from table(head, body)
    yield ""
    boots = max(row.get("run", 1) for row in rows)
    text = ""
    if boots > 1:
        # How far apart the boots are: what a ratio is worth.
        apart: dict[str, float] = {}
        for row in rows:
            same = [other["instructions"] for other in rows
                    if all(other.get(key) == row.get(key) for key in ("kernel", "state", "operation"))]
            apart[row["operation"]] = max(apart.get(row["operation"], 0), max(same) / min(same) - 1)
        worst = max(apart, key=lambda name: apart[name])
        rest = max(value for name, value in apart.items() if name != worst)
        text = (f"Medians of {boots} boots of each kernel. These were up to {100 * apart[worst]:.1f} % apart for {worst}, "
                f"and up to {100 * rest:.1f} % for the others. ")
    text += "No region: none on the machine."
    if "elsewhere" in measured:
        text += (" A region elsewhere: another process has made one. Beside a window: this process has a window, and "
                 "works outside it. Compare it with a stock process that has a plain mapping in its place: the kernel "
                 "keeps mappings in a tree, which gets another level here. reclaim-page: MADV_PAGEOUT of 10,000 pages "
                 "that are clean in swap, for each.")
    yield text


def show_scale(rows):
    def cell(row, key):
        return f"{row[key]:,}" if isinstance(row[key], int) else row[key]

    counts = list(dict.fromkeys(row["cpus"] for row in rows))
    fills = [row for row in rows if row["what"] == "fill"]
    flushes = [row for row in rows if row["what"] == "flush"]
    kinds = {"plain": "N processes, plain", "threads": "N threads of one process", "region": "N processes, region"}
    yield f"### What grows with the number of CPUs, N: {fills[0]['mib']} MiB that N workers fill at once"
    yield ""
    yield from table(["workers"] + [f"{words}, N = {n}" for words in ("faults", "tables, KiB") for n in counts],
                     ([words] + [cell(pick(fills, kind=kind, cpus=n), "faults") for n in counts] +
                      [f"{pick(fills, kind=kind, cpus=n)['table_bytes'] // 1024:,}" for n in counts]
                      for kind, words in kinds.items()))
    yield ""
    yield "Interrupts that flush TLBs, for each call, while others run on the N - 1 other CPUs or sleep:"
    yield ""
    body = []
    for call in ("mprotect", "munmap"):
        for kind in ("threads", "region"):
            for running, sleeping in ((True, 0), (True, 100), (False, 100)):
                cells = [f"{call}, {'threads' if kind == 'threads' else 'sharers'}: "
                         f"{'N - 1 run' if running else 'none runs'}, {sleeping} sleep"]
                for n in counts:
                    cells.append(str(pick(flushes, kind=kind, cpus=n, running=n - 1 if running else 0,
                                          sleeping=sleeping)[call]))
                body.append(cells)
    yield from table(["call"] + [f"N = {n}" for n in counts], body)
    yield ""
    yield "Calls of each reader that end while one mprotect() waits, median and most of 200, with N - 1 readers (N = 1: one):"
    yield ""
    waits = [row for row in rows if row["what"] == "wait"]
    yield from table(["others"] + [f"N = {n}" for n in counts],
                     ([words] + ["{median}, {worst}".format(**pick(waits, kind=kind, cpus=n)) for n in counts]
                      for kind, words in (("threads", "threads"), ("region", "sharers that may only read"))))
    yield ""
    forks = {row["kind"]: row for row in rows if row["what"] == "fork" and row["cpus"] == counts[-1]}
    yield (f"A child forked beside {forks['plain']['mib']} MiB that reads all of it has {forks['plain']['faults']:,} faults and "
           f"{forks['plain']['table_bytes'] // 1024:,} KiB of tables where the memory is plain, {forks['region']['faults']:,} and "
           f"{forks['region']['table_bytes'] // 1024:,} KiB where it is a region.")


def show_postgres(rows):
    first = rows[0]
    part = "" if first.get("percent", 100) == 100 else f"{first['percent']} % of the pages of "
    yield (f"### PostgreSQL {first.get('version', 15)}, {first['connections']:,} connections that each read {part}a table of "
           f"{first.get('table_mib', 260)} MiB in {first.get('buffers_mib', 384):,} MiB of shared buffers")
    yield ""
    body = []
    for row in rows:
        body.append([KINDS[row["kind"]], mib(row["curve"][-1][1]), f"{row['own_tables'] / 1024:,.0f}",
                     f"{row['private_bytes'] / MIB:,.2f}" if "private_bytes" in row else "-",
                     f"{row['faults']:,.0f}", f"{row['faults_in_scan']:,.0f}"])
    yield from table(["memory", "page tables added, MiB", "one backend's, KiB", "its private memory and tables, MiB",
                      "faults of one backend", "in its first scan"], body)
    yield ""
    own = [f"{row['region_tables'] // 1024:,} KiB{' with transparent huge pages' if row['kind'] == 'region-thp' else ''}"
           for row in rows if "region_tables" in row]
    if own:
        yield f"A region's own tables, once for all connections: {', '.join(own)}."
        yield ""
    yield ("Times are in the JSON and not here: the kinds run one after another, for minutes, so they compare only "
           "on a machine that does nothing else.")


def show_connections(rows):
    yield from show_postgres(rows)
    region = next((row for row in rows if row["kind"] == "region"), None)
    if region:
        yield ""
        yield f"All {region['connections']:,} connections are in one region, which has {region['sharers']:,} sharers."
    yield ""
    yield ("Others have published, for PostgreSQL 18.3 with 1 GB of buffers, 2.64 MiB of private memory and tables for "
           "each connection with 4 KiB pages, and 1.51 MiB with huge pages. Their machine and load differ from these.")


def show_pgbench(rows):
    yield (f"### PostgreSQL with many clients, {rows[0]['buffers_mib']:,} MiB of shared buffers, "
           f"{rows[0]['seconds']} s each")
    yield ""
    yield from table(["profile, clients, memory", "transactions/s", "latency, ms", "connecting all, s", "faults/s",
                      "page tables at most, MiB"],
                     ([f"{row['profile']}, {row['clients']:,}, {KINDS[row['kind']]}", f"{float(row['tps']):,.0f}",
                       f"{float(row['latency_ms']):,.2f}", f"{float(row['connect_ms']) / 1000:,.1f}",
                       f"{row['faults'] / row['seconds']:,.0f}", mib(row["table_bytes"])]
                      for row in sorted(rows, key=lambda row: (row["profile"], row["clients"]))))
    yield ""
    yield ("Others have published, with an earlier version of shared page tables, for select with 16,000 clients and 32 GB "
           "of buffers in pages of 4 KiB on 4 sockets with 64 threads: 130,000 to 140,000 transactions/s plain and 189,000 "
           "shared, 256,302 and 34,304 faults/s, and all clients connected after 50 to 70 s and 6 s. And for simple-update "
           "with 1,024 clients on 96 CPUs, plain pages of 4 KiB: 98,565 transactions/s, and 50,751 since Linux is without "
           "PREEMPT_NONE, which huge pages cure. Their machines and loads differ from this one.")


def show_flush(rows):
    yield f"### Taking a right or a page away while N others are idle, {UNIT}"
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


def gnuplot(lines):
    subprocess.run(["gnuplot"], input="\n".join(lines) + "\n", text=True, check=True)


def plot_sga(folder, rows):
    """The cover letter's server: page tables against processes, and its memory."""
    plain = Plain(rows)
    curve = [row for row in rows if row["kind"] == "region" and "processes" in row]
    last = curve[-1]["processes"]
    size = curve[0]["mib"] // 1024
    gnuplot(["set terminal svg size 760,440 dynamic font 'sans-serif,13' background rgb 'white'",
             f"set output '{os.path.join(folder, 'sga.svg')}'",
             f"set title 'Page tables of processes that map a buffer of {size} GiB'",
             "set xlabel 'processes'", "set ylabel 'GiB'", "set key left top", "set grid lc rgb '#dddddd'",
             f"set xrange [0:{last}]", "set yrange [0:1000]", "$measured << EOD"] +
            [f"{n} {size_ / GIB:.4f}" for n, size_ in sorted(plain.measured.items())] +
            ["EOD", "$line << EOD", f"{plain.last} {plain.measured[plain.last] / GIB:.4f}",
             f"{last} {plain.bytes(last) / GIB:.4f}", "EOD", "$region << EOD"] +
            [f"{row['processes']} {row['table_bytes'] / GIB:.4f}" for row in curve] +
            ["EOD",
             f"plot $measured with linespoints lw 2.5 pt 7 ps 0.4 lc rgb '#c0392b' title 'plain, measured (1 to {plain.last})', "
             "$line with lines lw 2.5 dt 2 lc rgb '#c0392b' title 'plain, extrapolated by its own slope', "
             "512 with lines lw 1.5 dt 4 lc rgb '#333333' title 'memory of that server, 512 GiB', "
             "$region with linespoints lw 2.5 pt 7 ps 0.5 lc rgb '#2471a3' title 'region, measured'"])


def plot(folder, rows):
    """Page tables against connections, from the curves of the PostgreSQL benchmark."""
    script = ["set terminal svg size 760,440 dynamic font 'sans-serif,13' background rgb 'white'",
              f"set output '{os.path.join(folder, 'pagetables.svg')}'",
              "set title 'Page tables that connections add to PostgreSQL, 260 MiB of shared buffers read by each'",
              "set xlabel 'connections'", "set ylabel 'MiB'", "set key left top", "set grid lc rgb '#dddddd'",
              "set style line 1 lw 2.5 lc rgb '#c0392b'", "set style line 2 lw 2.5 lc rgb '#7f8c8d'",
              "set style line 3 lw 2.5 lc rgb '#2471a3'", "set style line 4 lw 2.5 dt 2 lc rgb '#1e8449'"]
    curves = []
    for number, row in enumerate(rows, 1):
        script.append(f"$c{number} << EOD")
        script += [f"{connections} {grown / MIB:.4f}" for connections, grown in row["curve"]]
        script.append("EOD")
        curves.append(f"$c{number} with lines ls {number} title '{KINDS[row['kind']]}'")
    script.append("plot " + ", ".join(curves))
    gnuplot(script)


def read(folder, name):
    with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
        return json.load(file)


def summary(folder):
    global UNIT
    shows = {name: globals().get("show_" + name) or globals()["show_" + name.split("-")[0]] for name in ORDER}
    text = ["<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->", "<!-- Made by ./run bench. -->", ""]
    for name in ORDER:
        path = os.path.join(folder, name + ".json")
        if not os.path.exists(path):
            continue
        result = read(folder, name)
        UNIT = "nanoseconds" if result.get("here") else "instructions"
        text += list(shows[name](result["records"])) + ["", origin(result), ""]
        if name == "sga":
            plot_sga(folder, result["records"])
        if name == "postgres":
            plot(folder, result["records"])
    with open(os.path.join(folder, "results.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text).rstrip("\n") + "\n")


def main():
    verb, args = sys.argv[1], sys.argv[2:]
    {"record": record, "summary": summary}[verb](*args)


if __name__ == "__main__":
    main()
