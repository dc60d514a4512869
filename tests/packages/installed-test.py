#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Meson and debian/ agree on what is installed: the build of the packages fails if a file is in no package.
installed-test.py BUILD-DIRECTORY"""

import fnmatch
import functools
import glob
import json
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = sys.argv[1]
NOT_INSTALLED = "not-installed"


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@functools.cache
def installed():
    """The files that Meson installs, without those that only the tests' guest gets."""
    paths = json.loads(output("meson", "introspect", "--installed", BUILD)).values()
    return sorted(p.lstrip("/") for p in paths if "/libexec/mshare/tests/" not in p)


def entries():
    """(file of debian/, entry) of all files that list installed files."""
    for path in sorted(glob.glob(os.path.join(TOP, "debian", "*.install"))) + [os.path.join(TOP, "debian", NOT_INSTALLED)]:
        with open(path, encoding="utf-8") as f:
            for line in f:
                words = line.split("#")[0].split()
                # If there is more than one word, the last is the destination.
                for word in words[:-1] or words:
                    yield os.path.basename(path), word
    unitdir = output("pkg-config", "--variable=systemdsystemunitdir", "systemd").strip().lstrip("/")
    with open(os.path.join(TOP, "debian", "rules"), encoding="utf-8") as f:
        for package, words in re.findall(r"^\tdh_install -p(\S+) (.+)$", f.read(), re.M):
            for word in words.split():
                yield package + ".install", word.replace("$(unitdir)", unitdir)


def matches(entry, path):
    """As in dh_install: a glob for the file or for a directory above it. No part of the glob matches a slash."""
    entry, path = entry.split("/"), path.split("/")
    return len(entry) <= len(path) and all(fnmatch.fnmatchcase(p, e) for e, p in zip(entry, path))


def test_each_installed_file_is_in_one_package():
    known, wrong = list(entries()), []
    for path in installed():
        packages = {name for name, entry in known if matches(entry, path)}
        if len(packages) != 1:
            wrong.append("%s: %s" % (path, "in " + " and ".join(sorted(packages)) if packages else "in no package"))
    assert not wrong, wrong


def test_each_entry_of_a_package_is_installed():
    paths, wrong = installed(), []
    for name, entry in entries():
        if entry.startswith("debian/"):
            if not os.path.exists(os.path.join(TOP, entry)):
                wrong.append("debian/%s: %s does not exist" % (name, entry))
        # That file lists the folders of two releases.
        elif name != NOT_INSTALLED and not any(matches(entry, p) for p in paths):
            wrong.append("debian/%s: nothing is installed as %s" % (name, entry))
    assert not wrong, wrong


def main():
    tests = [f for name, f in sorted(globals().items()) if name.startswith("test_")]
    print("1..%d" % len(tests))
    failed = False
    for number, f in enumerate(tests, 1):
        name = f.__name__[len("test_"):].replace("_", " ")
        try:
            f()
            print("ok %d - %s" % (number, name))
        except AssertionError as e:
            failed = True
            print("not ok %d - %s" % (number, name))
            for line in e.args[0]:
                print("# " + line)
    return failed


sys.exit(main())
