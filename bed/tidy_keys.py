#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys for the memo of clang-tidy: what its judgement of a file depends on.

  tidy_keys.py BUILD COMMON FILE...

BUILD is a folder that ninja has built, FILE a source of it, relative to the top of the tree.
COMMON stands for the program and its settings. Prints "KEY:FILE" for each file that BUILD
compiles. A key is made of the compiler's command and of the content of each file that the
compiler has read, those of the system too.
"""

import hashlib
import json
import os
import subprocess
import sys


def read_files(build: str) -> dict[str, list[str]]:
    """For each object the files that the compiler has read, as ninja remembers them."""
    said = subprocess.run(["ninja", "-C", build, "-t", "deps"], stdout=subprocess.PIPE, check=True, text=True).stdout
    known: dict[str, list[str]] = {}
    files: list[str] = []
    for line in said.splitlines():
        if line.startswith("    "):
            files.append(line.strip())
        elif ": #deps " in line:
            files = known[line.split(": #deps ")[0]] = []
    return known


def content(path: str, seen: dict[str, bytes]) -> bytes:
    """A hash of it."""
    if path not in seen:
        with open(path, "rb") as file:
            seen[path] = hashlib.sha256(file.read()).digest()
    return seen[path]


def main() -> int:
    build, common, *names = sys.argv[1:]
    top = os.path.relpath(os.getcwd(), build)
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    known = read_files(build)
    seen: dict[str, bytes] = {}
    for name in names:
        # Several programs may be made of one file.
        entries = [entry for entry in commands if entry["file"] == os.path.join(top, name)]
        key = hashlib.sha256(f"{common} {name}".encode())
        for entry in entries:
            if not known.get(entry["output"]):
                sys.exit(f"tidy_keys.py: ninja has no record of what {entry['output']} is made of")
            key.update(entry["command"].encode())
            for path in known[entry["output"]]:
                key.update(path.encode() + content(os.path.join(build, path), seen))
        if entries:
            print(f"{key.hexdigest()[:32]}:{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
