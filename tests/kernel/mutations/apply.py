#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Mutations of the kernel half.

  apply.py apply DIR    put those of mutations.list into the files of DIR, each
                        behind the boot parameter mshare_mutant=N
  apply.py list         a line for each: N NAME TEST, with tabs
  apply.py models       a line for each that only the model can show: NAME, MODEL, WHY

N counts from 1. A text that does not occur exactly once is an error.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PARAMETER = """
int mshare_mutant;
core_param(mshare_mutant, mshare_mutant, int, 0400);
"""


class Mutation:
    def __init__(self, name):
        self.name = name
        self.number = 0
        self.file = self.test = self.by = None
        self.old, self.new = [], []


def read():
    mutations = []
    with open(os.path.join(HERE, "mutations.list"), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            key, _, value = line.partition(": ")
            if not line or line.startswith("#"):
                continue
            if key == "name":
                mutations.append(Mutation(value))
            elif line[0] == "-":
                mutations[-1].old.append(line[1:])
            elif line[0] == "+":
                mutations[-1].new.append(line[1:])
            elif key in ("file", "test", "by"):
                setattr(mutations[-1], key, value)
            else:
                sys.exit(f"mutations.list:{number}: not understood: {line}")
    names = [m.name for m in mutations]
    for m in mutations:
        if names.count(m.name) > 1:
            sys.exit(f"mutations.list: {m.name}: the name is used twice")
        if not m.by and not (m.file and m.test and m.old and "MUTANT" in "".join(m.new)):
            sys.exit(f"mutations.list: {m.name}: file, test, old text or new text with MUTANT is missing")
    for number, m in enumerate((m for m in mutations if not m.by), 1):
        m.number = number
    return mutations


def apply(top):
    texts = {}
    wrong = []
    for m in read():
        if m.by:
            continue
        if m.file not in texts:
            try:
                with open(os.path.join(top, m.file), encoding="utf-8") as file:
                    texts[m.file] = file.read()
            except OSError as error:
                wrong.append(f"{m.name}: {error}")
                continue
        old = "".join(line + "\n" for line in m.old)
        new = "".join(line + "\n" for line in m.new).replace("MUTANT", f"(mshare_mutant == {m.number})")
        count = texts[m.file].count("\n" + old)
        if count != 1:
            wrong.append(f"{m.name}: {m.file} has this {count} times, not once:\n{old}")
        texts[m.file] = texts[m.file].replace("\n" + old, "\n" + new)
    if wrong:
        sys.exit("mutations.list does not fit the kernel:\n" + "\n".join(wrong))
    for path, text in texts.items():
        path = os.path.join(top, path)
        # It may be a hard link to a file that others use.
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write("extern int mshare_mutant;\n" + text)
            if path.endswith("mm/mshare.c"):
                file.write("\n#include <linux/moduleparam.h>\n" + PARAMETER)
        os.replace(path + ".new", path)


def main():
    if sys.argv[1:2] == ["apply"] and len(sys.argv) == 3:
        apply(sys.argv[2])
    elif sys.argv[1:] == ["list"]:
        for m in read():
            if not m.by:
                print(m.number, m.name, m.test, sep="\t")
    elif sys.argv[1:] == ["models"]:
        for m in read():
            if m.by:
                print(m.name, *m.by.split(": ", 1), sep="\t")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
