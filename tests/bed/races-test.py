#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which reports of KCSAN fail a run: bed/races.py. Speaks TAP."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bed"))
import races  # noqa: E402

RULE = "=" * 66
count = failed = 0


def point(name, good):
    global count, failed
    count += 1
    failed += not good
    print(f"{'' if good else 'not '}ok {count} - {name}")


def report(functions, frames, rule=RULE):
    lines = [RULE, f"BUG: KCSAN: data-race in {functions}", "", "write to 0xffff888001 of 8 bytes by task 7 on cpu 0:"]
    lines += [f" {frame}+0x12/0x340" for frame in frames]
    lines += ["", "value changed: 0x1 -> 0x2", "", "Reported by Kernel Concurrency Sanitizer on:",
              "CPU: 1 UID: 0 PID: 7 Comm: mshare_tlb Not tainted 6.12.1 #1", rule]
    return [f"[   12.345678] {line}" for line in lines]


def feed(lines, known=None):
    told = races.Races(known or {}, "mshare")
    said = [sentence for line in lines if (sentence := told.feed(line))]
    last = told.end()
    return said + ([last] if last else []), told


said, _ = feed(report("tick / tock", ["tick", "do_idle"]))
point("a report that is not in the list fails the run", len(said) == 1 and "tick / tock" in said[0])
point("the sentence has the stacks", "do_idle+0x12" in said[0])

said, told = feed(report("tick / tock", ["tick", "do_idle"]), {"tick": "a counter"})
point("one that is in the list does not", not said and told.seen == {"tick": 1})

said, _ = feed(report("tick / tock", ["tick", "mshare_flush_tlb"]), {"tick": "a counter"})
point("one function does not excuse a report with a function of ours", len(said) == 1)
said, _ = feed(report("tick / tock", ["tick", "__mshare_get"]), {"tick": "a counter"})
point("nor with one that begins with underscores", len(said) == 1)
said, _ = feed(report("tick / tock", ["tick", "arch_mshare_loaded_mm"]), {"tick": "a counter"})
point("nor with one in the middle of a name", len(said) == 1)
said, _ = feed(report("__mshare_get / tick", ["tick"]), {"tick": "a counter"})
point("nor with one in the first line", len(said) == 1)
said, _ = feed(report("tick / tock", ["tick", "mshare_flush_tlb"]), {"tick / tock": "a counter"})
point("both functions do", not said)
said, _ = feed(report("tick.constprop.0 / tock.isra.0.part.1", ["tick", "mshare_get"]), {"tick / tock": "a counter"})
point("copies of a function have its name", not said)

said, _ = feed(report("tick / tock", ["tick"])[:-1] + report("a / b", ["a"])[1:])
point("a report whose last line is lost counts", len(said) == 2)
said, _ = feed(report("tick / tock", ["tick"])[:5])
point("and so does one at the end of the console", len(said) == 1)
said, _ = feed(["[    1.0] Linux version", RULE, "something else"])
point("other lines do not", not said)

with tempfile.NamedTemporaryFile("w", suffix=".list") as file:
    file.write("# a comment\n\ntick / tock: a counter: of ticks\n")
    file.flush()
    point("the list is read", races.read_list(file.name) == {"tick / tock": "a counter: of ticks"})
    for text in ("tick\n", "tick:\n", "tick: a\ntick: b\n"):
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
        try:
            races.read_list(file.name)
            error = ""
        except SystemExit as exc:
            error = str(exc.code)
        point(f"a wrong list is refused: {text.strip()!r}", file.name in error)

print(f"1..{count}")
sys.exit(1 if failed else 0)
