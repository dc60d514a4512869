#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares the answer to Introspect (standard input) with dbus/INTERFACE.xml. Prints the differences."""

import os
import sys
import xml.etree.ElementTree as ET

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def facts(root, name):
    interface = root.find("./interface[@name='%s']" % name)
    if interface is None:
        sys.exit("there is no interface %s" % name)
    result = set()
    for m in interface.findall("method"):
        args = tuple((a.get("name"), a.get("type"), a.get("direction", "in")) for a in m.findall("arg"))
        result.add(("method", m.get("name"), args))
    for s in interface.findall("signal"):
        result.add(("signal", s.get("name"), tuple((a.get("name"), a.get("type")) for a in s.findall("arg"))))
    for p in interface.findall("property"):
        emits = {a.get("name"): a.get("value") for a in p.findall("annotation")}.get(EMITS, "true")
        result.add(("property", p.get("name"), p.get("type"), p.get("access"), emits))
    return result


def main():
    name = sys.argv[1]
    answered = facts(ET.fromstring(sys.stdin.read()), name)
    written = facts(ET.parse(os.path.join(TOP, "dbus", name + ".xml")).getroot(), name)
    for what in sorted(answered - written):
        print("the daemon has, the file lacks:", what)
    for what in sorted(written - answered):
        print("the file has, the daemon lacks:", what)
    return 1 if answered != written or not written else 0


if __name__ == "__main__":
    sys.exit(main())
