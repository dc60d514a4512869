#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the documents and "run --help" refer to exists: linked files and their headings, and the names in commands such as
"./run test broker released".

  documents-test.py BUILD       the folder of a build, for the names of Meson's tests
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def documents() -> list[str]:
    found = []
    for where, folders, names in os.walk(TOP):
        folders[:] = [name for name in folders if not name.startswith((".", "build"))]
        found += [os.path.join(where, name) for name in names if name.endswith(".md")]
    return sorted(found)


def text_of(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def anchors(path: str) -> set[str]:
    """The anchors of headings, as forges make them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"(?m)^#+ (.*)$", text_of(path))}


def wrong_links(path: str) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(path)):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(file):
            yield f"{target}: no such file"
        elif anchor and anchor not in anchors(file):
            yield f"{target}: no such heading"


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each "./run test". In a block of commands, two spaces end them, in a sentence, a backtick."""
    for words in re.findall(r"`\./run test ([^`]*)`", text) + re.findall(r"(?m)^    (?:.* )?\./run test +(.*?)(?:  .*)?$", text):
        yield words.split()


def wrong_words(words: list[str], known: dict[str, list[str]]) -> Iterator[str]:
    """The words of such a command that are no switch and name nothing."""
    names = [word for word in words if not word.startswith("--")]
    kind = names[0] if names and names[0] in known else "phase"
    for name in names if kind == "phase" else names[1:]:
        if re.fullmatch(r"[A-Z_.]+", name):         # NAME, PART_OF_A_NAME
            continue
        if not any(name in test if kind == "broker" else name == test for test in known[kind]):
            yield f"{' '.join(words)}: no {kind} {name}"


def names_of_tests(build: str) -> dict[str, list[str]]:
    listed = subprocess.run([os.path.join(TOP, "run"), "test", "--list"], capture_output=True, text=True, check=True).stdout
    phases, _, rest = listed.partition("One program or one promise:")
    introspected = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, text=True, check=True).stdout
    promises = []
    folder = os.path.join(TOP, "tests", "daemon")
    for name in os.listdir(folder):
        if re.fullmatch(r"broker.*-test\.py", name):
            promises += re.findall(r"(?m)^def (test_\w+)", text_of(os.path.join(folder, name)))
    return {
        "phase": re.findall(r"(?m)^  ([\w-]+) ", phases),
        "kernel": re.findall(r"\b(?:mshare_\w+|tracing)\b", rest),
        "guest": [name[:-3] for name in os.listdir(os.path.join(TOP, "tests", "guest")) if name.endswith(".sh")],
        "userspace": [test["name"] for test in json.loads(introspected)],
        "broker": promises,
    }


def complaints(build: str) -> dict[str, list[str]]:
    known = names_of_tests(build)
    found = {"lists": [f"there is no name of kind {kind}" for kind, names in known.items() if not names]}
    found["links"] = [f"{os.path.relpath(path, TOP)}: {link}" for path in documents() for link in wrong_links(path)]
    asked = [(os.path.relpath(path, TOP), words) for path in documents() for words in commands(text_of(path))]
    shown = subprocess.run([os.path.join(TOP, "run"), "--help"], capture_output=True, text=True, check=True).stdout
    examples = re.findall(r'"((?:kernel|broker|userspace|guest) [^"]*)"', shown)
    if len(asked) < 20 or len(examples) < 3:
        found["lists"].append(f"only {len(asked)} commands in documents, and {len(examples)} in the help, were found")
    asked += [("run --help", example.split()) for example in examples]
    found["commands"] = [f"{path}: ./run test {what}" for path, words in asked for what in wrong_words(words, known)]
    return found


def main() -> int:
    titles = {
        "lists": "there are documents with commands, and tests with names",
        "links": "links in documents lead to files and headings that exist",
        "commands": "commands in documents and in the help name tests that exist",
    }
    found = complaints(sys.argv[1])
    print("1..%d" % len(titles))
    for i, (key, title) in enumerate(titles.items(), 1):
        print("%s %d - %s" % ("not ok" if found[key] else "ok", i, title))
        for line in found[key]:
            print("# " + line)
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
