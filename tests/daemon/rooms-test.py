#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The rooms of the daemon: includes go one way, and each source file has a header. daemon/README.md shows the picture.

In the daemon, the libraries and the commands, files use each other one way, and each source file says what it is for. Files of
tests and of the test bed have names of their own, so that a name in a message leads to one file.
"""

import collections
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
DAEMON = TOP / "daemon"
# A client, in a folder of its own. It may use tools and values of the daemon, but nothing else of it.
REGION = TOP / "region"
# Folders outside of the daemon. All others may include base/, which includes nothing else of the project.
BASE = TOP / "base"
OTHERS = [BASE, TOP / "lib", TOP / "ctl"]

# A room may include its own headers and those of these rooms.
MAY_INCLUDE = {
    "basic": set(),
    "model": {"basic"},
    "kernel": {"basic", "model"},
    "policy": {"basic", "model"},
    "calls": {"basic", "model", "policy"},
    "core": {"basic", "model", "kernel", "policy", "calls"},
    "bus": {"basic", "model", "kernel", "policy", "calls", "core"},
    ".": {"basic", "model", "kernel", "policy", "calls", "core", "bus"},
    "region": {"basic", "model"},
}
# And these headers, each by name: mshare-region populates the memory of its region itself, so that its unit is charged for it.
MAY_INCLUDE_TOO = {"region": {"kernel/kernel-ops.h", "kernel/populate.h"}}
# Rooms that do not know regions, except in comments.
NO_REGIONS = {"basic"}
# Rooms that do not know the bus.
NO_BUS = {"basic", "model", "kernel", "policy"}
# Rooms that know D-Bus errors, but no messages.
NO_MESSAGES = {"core"}
MESSAGES = re.compile(r"\bsd_bus_(message_|message \*|reply|emit|call|send)")
# Rooms that read calls and answer them, but decide nothing. Permission, access and charges are the business of the core.
NO_DECISIONS = {"bus"}
DECISIONS = re.compile(r"\b(call_authorize|authorize_region|region_(admits|drop_lease|forget)\w*|manager_remove_region|"
                       r"identity_in_group|access_by_mode|acl_[a-z_]+|users_[a-z_]+)\(|\buid [!=]=|\"org\.mshare1\.[a-z]")
# A function with more parameters gets a struct.
PARAMETERS_MAX = 7
# Functions that the core calls and the objects on the bus define: the header is in the room below.
DECLARED_BELOW = {"bus/answer": "core/answer", "bus/announce": "core/announce"}
# These have main(), which no other file calls.
PROGRAMS = {"mshared.c", "region/mshare-region.c"}
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
# A function that a source file defines for others.
FUNCTION = re.compile(r"^(?!static|return|else)[A-Za-z_][\w \t*]*?\b(\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
# Files that use each other, although no others do. Each line is a set of which all may.
CIRCLES = [
    # The manager has regions, which know their manager, and a region has a creation or a resize while one runs. They announce
    # changes and answer calls; the headers for that know regions.
    {"daemon/core/manager", "daemon/core/region", "daemon/core/creation", "daemon/core/resize", "daemon/core/announce",
     "daemon/core/answer"},
    # Before a fork, the state updates the System V segments, which use the state.
    {"lib/preload-state", "lib/preload-sysv"},
]
# Files of tests and of the test bed that may share a name. tests/guest/tap.bash adds to tests/tap.bash.
SHARED_NAMES = {"README.md", "meson.build", "tap.bash"}
OPENING = re.compile(r"/\* SPDX-License-Identifier: \S+ \*/\n\n/\*\s")


def uses_of(folder, names):
    """The files of a folder that each file of it uses; a source file and its header count as one."""
    stems = {str(path.relative_to(folder).with_suffix("")) for path in folder.glob(names)}
    uses = {stem: set() for stem in stems}
    texts = {path: COMMENT.sub("", path.read_text(encoding="utf-8")) for path in folder.glob(names)}
    for path, text in texts.items():
        stem = str(path.relative_to(folder).with_suffix(""))
        uses[stem] |= {h for h in re.findall(r'#include "([^"]+)\.h"', text) if h in stems} - {stem}
    # A source file without a header of its own: its functions are declared in a header of another one.
    headers = "".join(text for path, text in texts.items() if path.suffix == ".h")
    for stem in sorted(stem for stem in stems - set(DECLARED_BELOW) if not (folder / (stem + ".h")).exists()):
        for name in FUNCTION.findall(texts[folder / (stem + ".c")]):
            if name + "(" not in headers:
                continue
            called = re.compile(r"^[\t ].*\b%s\(" % name, re.MULTILINE)
            users = {str(path.relative_to(folder).with_suffix("")) for path, text in texts.items()
                     if path.suffix == ".c" and called.search(text)}
            for user in users - {stem}:
                uses[user].add(stem)
    return uses


def circles():
    """Yields the files that use each other, directly or through others."""
    for folder, names in ((DAEMON, "**/*.[ch]"), (REGION, "*.[ch]"), *((folder, "*.[ch]") for folder in OTHERS)):
        uses = uses_of(folder, names)
        reached = {}
        for stem in uses:
            reached[stem], new = set(), uses[stem]
            while new:
                reached[stem] |= new
                new = set().union(*(uses[other] for other in new)) - reached[stem]
        for stem in sorted(uses):
            circle = {"%s/%s" % (folder.name, other) for other in reached[stem] if stem in reached[other]}
            if circle and not any(circle <= known for known in CIRCLES):
                yield "%s/%s: in a circle with %s" % (folder.name, stem,
                                                      ", ".join(sorted(circle - {"%s/%s" % (folder.name, stem)})))


def names_of_bus():
    """Yields the types of bus/ that the core names. It knows only those that its own headers declare."""
    typedef = re.compile(r"^typedef (?:[^;{]*|[^{]*\{.*?\n\} )\b(\w+);", re.M | re.S)
    types = {name for path in (DAEMON / "bus").glob("*.h") for name in typedef.findall(path.read_text(encoding="utf-8"))}
    for path in sorted((DAEMON / "core").glob("*.[ch]")):
        for name in sorted(types & set(re.findall(r"\w+", path.read_text(encoding="utf-8")))):
            yield "core/%s: core/ must not know %s of bus/; see core/announce.h" % (path.name, name)


def long_lists(name, text):
    """Yields the functions of the file that have too many parameters."""
    for function, parameters in re.findall(r"^\w[^\n(;={]*\b(\w+)\(((?:[^();]|\([^()]*\))*)\)[;\s{]", text, re.M):
        n = 1 + re.sub(r"\([^()]*\)", "", parameters).count(",")
        if n > PARAMETERS_MAX:
            yield "%s: %s() has %d parameters; pass a struct" % (name, function, n)


def shared_names():
    """Yields the files of tests and of the test bed that have the same name."""
    paths = collections.defaultdict(list)
    for folder in (TOP / "tests", TOP / "bed"):
        for path in folder.rglob("*.*"):
            if path.is_file() and not {"corpus", "__pycache__", ".mypy_cache"} & set(path.parts):
                paths[path.name].append(str(path.relative_to(TOP)))
    for name, same in sorted(paths.items()):
        if len(same) > 1 and name not in SHARED_NAMES:
            yield "the same name: %s" % ", ".join(sorted(same))


def complaints():
    """Yields the name of each check, and what is wrong."""
    found = {"rooms": [], "includes": [], "bus": list(names_of_bus()), "decisions": [], "parameters": [], "openings": [], "headers": [], "circles": list(circles()),
             "names": list(shared_names())}
    for path in sorted([*DAEMON.rglob("*.[ch]"), *REGION.glob("*.[ch]")]):
        name = path.relative_to(TOP if path.parent == REGION else DAEMON)
        room = str(name.parent)
        text = path.read_text(encoding="utf-8")
        if room not in MAY_INCLUDE:
            found["rooms"].append("%s: daemon/README.md knows no room %s" % (name, room))
            continue
        for header in re.findall(r'#include "([^"]+)"', text):
            other = str(pathlib.PurePath(header).parent)
            if other == "." and room != "region" and (path.parent / header).exists():
                found["includes"].append('%s: write "%s/%s", so that the room can be seen' % (name, room, header))
            elif other not in (".", room) and other not in MAY_INCLUDE[room] and header not in MAY_INCLUDE_TOO.get(room, ()):
                found["includes"].append("%s: %s/ must not include %s" % (name, room, header))
        if room in NO_REGIONS and re.search("region", COMMENT.sub("", text), re.IGNORECASE):
            found["bus"].append("%s: %s/ must not know regions" % (name, room))
        if room in NO_BUS and "systemd/sd-bus.h" in text:
            found["bus"].append("%s: %s/ must not know the bus" % (name, room))
        if room in NO_MESSAGES and MESSAGES.search(text):
            found["bus"].append("%s: %s/ must not know messages; see core/answer.h and core/announce.h" % (name, room))
        found["parameters"] += long_lists(name, text)
        if room in NO_DECISIONS:
            found["decisions"] += ["%s: %s/ must not decide: %s" % (name, room, m.group()) for m in DECISIONS.finditer(text)]
        if path.suffix == ".c" and str(name) not in PROGRAMS:
            stem = str(name.with_suffix(""))
            header = DECLARED_BELOW.get(stem, stem) + ".h"
            if '#include "%s"' % header.removeprefix("region/") not in text:
                found["headers"].append("%s: include %s, which declares what the file defines" % (name, header))
        if path.suffix == ".c" and not OPENING.match(text):
            found["openings"].append("%s: say below the license line what the file is for" % name)
    for path in sorted(file for folder in OTHERS for file in folder.glob("*.[ch]")):
        name = path.relative_to(TOP)
        text = path.read_text(encoding="utf-8")
        found["parameters"] += long_lists(name, text)
        if path.suffix == ".c" and not OPENING.match(text):
            found["openings"].append("%s: say below the license line what the file is for" % name)
        for header in re.findall(r'#include "([^"]+)"', text):
            if path.parent == BASE and not (BASE / header).exists():
                found["includes"].append("%s: base/ must not include %s" % (name, header))
    rooms = {room for room in MAY_INCLUDE if room not in (".", "region")}
    readme = (DAEMON / "README.md").read_text(encoding="utf-8")
    found["rooms"] += ["README.md does not describe %s/" % r for r in sorted(rooms) if "`%s/`" % r not in readme]
    return found


def main():
    titles = {
        "rooms": "daemon/README.md describes every room",
        "includes": "includes between rooms go one way, and base/ includes nothing else",
        "bus": "tools do not know regions, tools, values, kernel and policy not the bus, and the core no messages and no types of bus/",
        "decisions": "the objects on the bus decide nothing",
        "parameters": "functions have at most %d parameters" % PARAMETERS_MAX,
        "openings": "each source file says what it is for",
        "headers": "each source file has a header of its own",
        "circles": "files of a program use each other one way, but for known circles",
        "names": "files of tests and of the test bed have names of their own",
    }
    found = complaints()
    print("1..%d" % len(titles))
    for i, (key, title) in enumerate(titles.items(), 1):
        print("%s %d - %s" % ("not ok" if found[key] else "ok", i, title))
        for line in found[key]:
            print("# " + line)
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
