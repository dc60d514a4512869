#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No message can say "1 processes": finds numbers in messages that are followed by a plural. The message can name first what is
counted ("Clients: 1"), or have both forms ("1 client%s"). Amounts of bytes are left out: they are hardly ever one. Speaks TAP."""

import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("base", "cockpit", "ctl", "daemon", "debian", "lib", "postgresql", "region")
# What looks like a plural after a number, which is then that of a user or node, or a word for how many.
OTHERS = {"bytes", "does", "has", "is", "process", "times", "was", "yes"}
NUMBER = {
    "c": r"%[-0-9.*]*(?:[hlzj]*[ud]|@PRI[ud]\w+@)",
    "js": r"\$\{[^}]*\}",
    # Of variables in scripts, names of units and files would be found as well.
    "sh": r"\$\{?(?:count|n|number|[a-z_]*sharers|[a-z_]*count|n_[a-z]+)\}?",
}


def language(name: str) -> str | None:
    suffix = os.path.splitext(name)[1]
    if suffix in (".c", ".h"):
        return "c"
    return {".js": "js", ".in": "sh", ".sh": "sh", ".prerm": "sh", ".postinst": "sh", ".postrm": "sh", ".preinst": "sh"}.get(suffix)


def find(text: str, kind: str) -> list[str]:
    if kind == "c":
        text = re.sub(r'"\s*(PRI[ud]\w+)\s*"', r"@\1@", text)
        text = re.sub(r'"\s*\n\s*"', "", text)
    return [m.group(0) for m in re.finditer(NUMBER[kind] + r" ([a-z]+s)\b(?!%)", text) if m.group(1) not in OTHERS]


def main() -> int:
    wrong = []
    for folder in FOLDERS:
        for where, _, names in os.walk(os.path.join(TOP, folder)):
            for name in names:
                kind = language(name)
                if kind:
                    path = os.path.join(where, name)
                    with open(path, encoding="utf-8") as f:
                        wrong += ["%s: %s" % (os.path.relpath(path, TOP), said) for said in find(f.read(), kind)]
    assert find('"%" PRIu64\n  " processes"', "c") and find("%u clients", "c") and not find("%u client%s", "c")
    assert find("$count processes", "sh") and find("${n} leases", "js")
    print("1..1\n%sok 1 - no number is followed by a plural" % ("not " if wrong else ""))
    for line in sorted(wrong):
        print("# " + line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
