#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that are installed with the daemon agree with it. files-test.py BUILD-DIRECTORY"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = sys.argv[1]
EXPOSURE_MAX = 15  # tenths


class Skip(Exception):
    pass


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def sources():
    return {f: read(d, f) for top in ("daemon", "region") for d, _, names in os.walk(os.path.join(TOP, top))
            for f in names if f.endswith((".c", ".h"))}


def built(name):
    return os.path.join(BUILD, "units", name)


def systemd_analyze():
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed")
    return "systemd-analyze"


def test_the_unit_is_well_confined():
    r = subprocess.run([systemd_analyze(), "security", "--offline=true", "--no-pager",
                        "--threshold=%d" % EXPOSURE_MAX, built("mshared.service")], capture_output=True, text=True)
    last = r.stdout.strip().splitlines()[-1] if r.stdout.strip() else r.stderr.strip()
    print("# " + last)
    assert r.returncode == 0, last
    assert "mshared.service" in last


def test_the_units_are_sound():
    with tempfile.TemporaryDirectory() as d:
        for name in ("mshared.service", "mshare-region@.service"):
            with open(built(name), encoding="utf-8") as f:
                text = f.read()
            # The programs are not installed here.
            text = re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", text, flags=re.M)
            with open(os.path.join(d, name.replace("@.", "@pgdata.")), "w", encoding="utf-8") as f:
                f.write(text)
        shutil.copy(os.path.join(TOP, "units/sys-fs-mshare.mount"), d)
        for name in sorted(os.listdir(d)):
            r = subprocess.run([systemd_analyze(), "verify", "--man=no", os.path.join(d, name)],
                               capture_output=True, text=True)
            said = [line for line in r.stderr.splitlines() if d in line or "mshare" in line]
            assert not said, said


def test_nothing_in_the_unit_forbids_what_the_daemon_needs():
    unit = read("units/mshared.service.in")

    def value(key):
        return re.findall(r"^%s=(.*)$" % key, unit, flags=re.M)

    # A service of Type=dbus ends with the bus, and a list of allowed system calls cannot name mshare(2).
    assert value("Type") == ["notify"], value("Type")
    assert all(v.startswith("~") for v in value("SystemCallFilter"))
    assert value("ReadWritePaths") == ["-/sys/fs/mshare"]
    assert value("ProcSubset") == ["all"]
    assert value("RuntimeDirectoryPreserve") == ["yes"]
    # By default systemd stops the whole unit if the kernel kills a donor.
    assert value("OOMPolicy") == ["continue"], value("OOMPolicy")
    assert not value("ConditionPathExists"), "a caller that activates the daemon would be left waiting"
    assert value("PrivateUsers") in ([], ["no"]), "owners would not be what they seem"
    assert value("CapabilityBoundingSet") == value("AmbientCapabilities")
    region = read("units/mshare-region@.service.in")
    # The units use the bus while the system shuts down. The mount, with all regions, cannot be stopped by hand.
    for text in (unit, region):
        assert re.search(r"^After=.*\bdbus\.service\b", text, flags=re.M)
    assert "RefuseManualStop=yes" in read("units/sys-fs-mshare.mount")
    assert value("ManagedOOMPreference") == ["omit"]
    assert "Wants=mshared.service" in region and "Requires=" not in region.replace("not Requires=", "")
    # As often as the servers that want the regions.
    for text in (unit, region):
        assert re.search(r"^StartLimitIntervalSec=0$", text, flags=re.M)


def test_every_polkit_action_in_use_is_declared():
    used = set()
    for text in sources().values():
        used |= set(re.findall(r'"(org\.mshare1\.[a-z]+-[a-z]+)"', text))
    policy = ET.fromstring(read("polkit/org.mshare1.policy"))
    declared = {a.get("id"): a for a in policy.findall("action")}
    assert used == set(declared), used ^ set(declared)
    for name, action in declared.items():
        defaults = {d.tag: d.text for d in action.find("defaults")}
        assert defaults == {"allow_any": "auth_admin", "allow_inactive": "auth_admin", "allow_active": "auth_admin"}, name
        notes = {a.get("key"): a.text for a in action.findall("annotate")}
        assert notes.pop("org.freedesktop.policykit.owner") == "unix-user:mshared", name
        # A permission for more includes the one for less, or one creation would ask several questions.
        weaker = {"org.mshare1.set-owner": "org.mshare1.set-mode org.mshare1.create-region",
                  "org.mshare1.set-mode": "org.mshare1.create-region"}
        assert notes == ({"org.freedesktop.policykit.imply": weaker[name]} if name in weaker else {}), name
        for detail in ("region", "mode", "owner", "size"):
            assert "$(%s)" % detail in action.find("message").text, (name, detail)


def test_the_bus_policy_lets_the_daemon_have_its_name():
    root = ET.fromstring(read("dbus/org.mshare1.conf"))
    owners = [p.get("user") for p in root.findall("policy") if p.find("allow[@own='org.mshare1']") is not None]
    assert owners == ["mshared"], owners
    service = read("dbus/org.mshare1.service")
    unit = read("units/mshared.service.in")
    alias = re.search(r"^SystemdService=(.*)$", service, flags=re.M).group(1)
    assert "Alias=" + alias in unit
    assert "u mshared " in read("units/mshared.sysusers.conf")


def test_every_message_is_in_the_catalog():
    ids = set(re.findall(r'"([0-9a-f]{32})"', read("daemon/model/messages.h")))
    explained = set(re.findall(r"^-- ([0-9a-f]{32})$", read("units/mshared.catalog"), flags=re.M))
    assert ids and ids == explained, ids ^ explained
    for name in re.findall(r"#define (MESSAGE_\w+)", read("daemon/model/messages.h")):
        assert any(name in text for f, text in sources().items() if f != "messages.h"), name + " is never sent"
    if shutil.which("journalctl"):
        with tempfile.TemporaryDirectory() as d:
            shutil.copy(os.path.join(TOP, "units/mshared.catalog"), d)
            os.makedirs(os.path.join(d, "usr/lib/systemd/catalog"))
            os.makedirs(os.path.join(d, "var/lib/systemd/catalog"))
            shutil.copy(os.path.join(TOP, "units/mshared.catalog"), os.path.join(d, "usr/lib/systemd/catalog"))
            r = subprocess.run(["journalctl", "--update-catalog", "--root=" + d], capture_output=True, text=True)
            assert r.returncode == 0 and not r.stderr.strip(), r.stderr


def test_limits_are_named_the_same_everywhere():
    defaults = re.findall(r'\{ "(\w+Max)", "[^"]*", (.*?) \},', read("daemon/model/limits.c"))
    table = [name for name, _ in defaults]
    xml = ET.fromstring(read("dbus/org.mshare1.Manager.xml"))
    properties = [p.get("name") for p in xml.iter("property") if p.get("name").endswith("Max")]
    settings = dict(re.findall(r"^#(\w+Max)=(.*)$", read("units/mshared.conf"), flags=re.M))
    sample = list(settings)
    assert sorted(table) == sorted(properties) == sorted(sample), (table, properties, sample)
    manual = read("man/mshared.conf.5")
    for name, value in defaults:
        value = {"UINT64_C(1) << 40": "1T"}.get(value, value)
        assert settings[name] == value, (name, settings[name], value)
        assert re.search(r"It Va %s\n[^.]*[^D]*Default: %s\." % (name, value), manual), (name, value)


def test_every_property_states_whether_its_changes_are_signalled():
    for name in ("Manager", "Region"):
        for p in ET.fromstring(read("dbus", "org.mshare1.%s.xml" % name)).iter("property"):
            stated = {a.get("name"): a.get("value") for a in p.findall("annotation")}
            assert stated.get("org.freedesktop.DBus.Property.EmitsChangedSignal") in ("true", "const", "false"), \
                p.get("name")


def test_manual_pages_name_every_member_error_and_setting():
    page = os.path.join(TOP, "man", "org.mshare1.5")
    if not os.path.exists(page):
        raise Skip("man/org.mshare1.5 does not exist yet")
    text = read("man", "org.mshare1.5").replace("\\&", "").replace("\\-", "-")
    for name in ("Manager", "Region"):
        xml = ET.fromstring(read("dbus", "org.mshare1.%s.xml" % name))
        for tag in ("method", "property", "signal"):
            for member in xml.iter(tag):
                assert re.search(r"\b%s\b" % member.get("name"), text), member.get("name")
    for name in re.findall(r'"org\.mshare1\.Error\.(\w+)"', read("base/errors.h")):
        assert name in text, name
    for key in re.findall(r'\{ "(\w+)", \'\w\', read_', read("daemon/bus/options.c")):
        assert re.search(r"\b%s\b" % key, text), key
    conf = read("man", "mshared.conf.5")
    for key in re.findall(r"^#(\w+)=", read("units/mshared.conf"), flags=re.M):
        assert key in conf, key
    for key in re.findall(r'\{ "(\w+)", [^}]*\}', read("region/region-file.c")):
        assert key in read("man", "mshare-region@.service.8"), key


def test_links_of_documents_lead_to_files():
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "*.md"], capture_output=True, text=True)
    if listed.returncode != 0:
        raise Skip("this is not a git tree")
    documents = listed.stdout.split()
    assert "README.md" in documents, documents
    for document in documents:
        where = os.path.dirname(os.path.join(TOP, document))
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", read(document)):
            assert os.path.exists(os.path.join(where, link)), "%s links to %s" % (document, link)


def test_the_news_begin_with_this_version():
    version = re.search(r"version: '([\d.]+)'", read("meson.build")).group(1)
    newest = re.search(r"^## (\S+)", read("NEWS.md"), flags=re.M).group(1)
    assert newest == version, (newest, version)


def main():
    tests = [f for n, f in list(globals().items()) if n.startswith("test_")]
    failed = 0
    print("1..%d" % len(tests))
    for i, test in enumerate(tests, 1):
        name = test.__name__.replace("test_", "", 1).replace("_", " ")
        try:
            test()
        except Skip as e:
            print("ok %d - %s # SKIP %s" % (i, name, e))
        except Exception as e:  # pylint: disable=broad-except
            failed += 1
            print("not ok %d - %s" % (i, name))
            print("# %s: %s" % (type(e).__name__, str(e).replace("\n", "\n# ")))
        else:
            print("ok %d - %s" % (i, name))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
