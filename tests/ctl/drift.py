#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Statements that occur in several places must agree: drift.py SOURCE-FOLDER LIBMSHARE MSHARECTL"""

import re
import subprocess
import sys
from pathlib import Path

source, library, msharectl = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
points = []


def check(what, **sets):
    """Each named set equals the first. Missing and extra entries are printed."""
    (first_name, first), *others = sets.items()
    problems = [] if first else [f"{first_name} is empty"]
    for name, one in others:
        if first - one:
            problems.append(f"{name} lacks {', '.join(sorted(first - one))}")
        if one - first:
            problems.append(f"{first_name} lacks {', '.join(sorted(one - first))}, which {name} has")
    points.append(not problems)
    print("ok" if not problems else "not ok", len(points), "-", what)
    for problem in problems:
        print("#", problem)


def read(path):
    return (source / path).read_text(encoding="utf-8")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# The library. The manual pages of the system calls are in section 2.
nm = {line.split()[2].split("@")[0] for line in output("nm", "-D", "--defined-only", library).splitlines()
      if line.split()[1] == "T"}
symbol_map = set(re.findall(r"^\s+(\w+);$", read("lib/libmshare.map"), re.M))
header = set(re.findall(r"\b(mshare\w*)\(", re.sub(r"/\*.*?\*/", "", read("lib/mshare.h"), flags=re.S)))
meson = read("man/meson.build")
pages = set(re.findall(r"'(mshare_\w+)\.3'", meson)) | set(re.findall(r"'(mshare_\w+)': 'mshare_\w+'", meson))
described = set()
for page in sorted((source / "man").glob("mshare_*.3")):
    described |= set(re.findall(r"^\.F[no] \"?(\w+)", page.read_text(encoding="utf-8").split(".Sh DESCRIPTION")[0], re.M))
system_calls = set(re.findall(r"'(mshare\w*)\.2'", meson))
check("exported symbols, symbol map, header", exported=nm, map=symbol_map, header=header)
packaged = set(re.findall(r"^ (mshare\w*)@LIBMSHARE", read("debian/libmshare0.symbols"), re.M))
check("symbols of the Debian package", map=symbol_map, package=packaged)
check("version", meson=set(re.findall(r"version: '([0-9.]+)',", read("meson.build"))[:1]),
      package=set(re.findall(r"^mshare \(([^)]*)\)", read("debian/changelog"))[:1]))
check("every call has a manual page", exported=nm, pages=pages | system_calls,
      synopses=described | system_calls)
listed = set(re.findall(r"^\.(?:It )?Xr (mshare\w*) [23]\b", read("man/libmshare.3"), re.M))
check("libmshare(3) lists every call", exported=nm, listed=listed)

# The command.
help_text = output(msharectl, "--help")
help_verbs = set(re.findall(r"^  (\w+) .*  [A-Z]", help_text.split("Commands:")[1].split("Options:")[0], re.M))
help_options = set(re.findall(r"(--[\w-]+)", help_text)) - {"--"}
page = read("man/msharectl.1")
page_verbs = set(re.findall(r"^\.It Cm (\w+)", page.split(".Ss Options")[0], re.M))
page_options = set()
for item in re.findall(r"^\.It Fl (.*)$", page, re.M):
    page_options |= {"-" + name for name in re.findall(r"(-[\w-]{2,})", item)}
bash = read("ctl/completion/msharectl.bash")
bash_verbs = set(re.search(r"verbs='([^']*)'", bash).group(1).split())
bash_options = {o.rstrip("=") for o in re.findall(r"--[\w-]+=?", " ".join(
    re.findall(r"(?:options|create)\+?='([^']*)'", bash) + re.findall(r"options\+=' ([^']*)'", bash)))}
zsh = read("ctl/completion/_msharectl")
zsh_verbs = set(re.findall(r"^\s+'(\w+):[^']*'$", zsh, re.M))
zsh_options = {o for o in re.findall(r"(--[\w-]+)[=\[,}]", "\n".join(
    line for line in zsh.splitlines() if "_call_program" not in line))}
check("commands", help=help_verbs, page=page_verbs, bash=bash_verbs, zsh=zsh_verbs)
check("options", help=help_options, page=page_options, bash=bash_options, zsh=zsh_options)

# What bash offers after each command, and which options it expects a value for.
bash_create = set(re.search(r"create='([^']*)'", bash).group(1).split())
for verb in sorted(help_verbs):
    _, _, own = output(msharectl, "help", verb).partition(f"\nOptions of {verb}:\n")
    told = re.findall(r"^  (?:(-\w)|  ) (--[\w-]+=?)", own.split("\n\n")[0], re.M)
    added = "".join(re.findall(rf"^ +{verb}\) options\+=['\"]([^'\"]*)['\"]", bash, re.M))
    offered = {word for word in added.split() if word not in ("$create", "--")}
    if "$create" in added:
        offered |= bash_create
    check(f"options of {verb}", help={verb, *(word for pair in told for word in pair if word)},
          bash={verb, *offered})
with_value = set(re.findall(r"(--[\w-]+)=", help_text.split("Options", 1)[1]))
values = bash.split("case $prev in")[1].split("esac")[0]
check("options with a value", help=with_value, bash=set(re.findall(r"(--[\w-]+)(?= \||\))", values)),
      zsh=set(re.findall(r"(--[\w-]+)=[}\[]", zsh)))

# The words for their values.
kinds, columns = read("base/kinds.c"), read("ctl/regions.c").split("sort_columns[] = {")[1].split("};")[0]


def words_in(path, macro):
    """The words of a text such as "yes, no or maybe:NUMBER, with numbers below 3"."""
    text = re.search(rf'#define {macro} "([^"]*)"', read(path)).group(1)
    return {word.split(":")[0] for word in re.split(r", | or ", text.split(", with ")[0])}


def table(name):
    return set(re.findall(r'"([\w-]+)"', re.search(rf"\b{name}\[\w+\] = \{{(.*?)\}};", kinds).group(1)))


# Users cannot choose the words that are left out here.
check("words for backings", table=table("backings") - {"unknown"}, header=words_in("base/kinds.h", "BACKING_WORDS"))
check("words for huge pages", table=table("hugepages") - {"default"}, header=words_in("base/kinds.h", "HUGEPAGES_WORDS"))
check("words for lifetimes", table=table("lifetimes"), header=words_in("base/kinds.h", "LIFETIME_WORDS"))
check("columns to sort by", table=set(re.findall(r'\{ "(\w+)"', columns)), header=words_in("ctl/regions.h", "SORT_WORDS"))
for option, words in (
        ("backing", words_in("base/kinds.h", "BACKING_WORDS")),
        ("hugepages", words_in("base/kinds.h", "HUGEPAGES_WORDS")),
        ("lifetime", words_in("base/kinds.h", "LIFETIME_WORDS")),
        ("numa", words_in("base/numa.h", "NUMA_FORM")),
        ("sort", words_in("ctl/regions.h", "SORT_WORDS")),
        ("json", set(re.search(r"--json=([\w|]+)", help_text).group(1).split("|"))),
        ("fallback", set(re.search(r"--fallback=([\w|]+)", help_text).group(1).split("|")))):
    in_bash = set(re.search(rf"--{option}\) words='([^']*)'", bash).group(1).split())
    in_zsh = re.search(rf"--{option}=\[[^]]*\]:[^:]*:\(([^)]*)\)", zsh).group(1)
    # bash splits words at colons, so it does not offer "bind:NODES".
    check(f"words for --{option}", program=words, bash=in_bash | (words & {"bind"}),
          zsh={word.split("\\:")[0] for word in in_zsh.split()})
names = set(re.findall(r"\"(mshare_\w+)\"", read("ctl/verb-metrics.c")))
told = set(re.findall(r"\b(mshare_\w+)", "\n".join(re.findall(r"^\.It Va (.*)$", page.split(".Sh METRICS")[1], re.M))))
alerts = set(re.findall(r"\b(mshare_\w+)", read("ctl/prometheus/mshare-alerts.yml")))
check("metrics", command=names, page=told)
check("metrics of the alert rules", command=names, rules=alerts | names)
statuses = set(re.findall(r"STATUS_\w+ = (\d+),", read("ctl/complain.h")))
told = set(re.findall(r"^\.It (\d+)$", page.split(".Sh EXIT STATUS")[1], re.M))
check("exit statuses", header=statuses, page=told)

# The bus.
api = read("man/org.mshare1.5")
for interface, part in ("Manager", ".Ss Methods of the manager"), ("Region", ".Ss Region objects"):
    xml = read(f"dbus/org.mshare1.{interface}.xml")
    text = api.split(part)[1].split(".Ss Region objects" if interface == "Manager" else ".Ss Errors")[0]
    methods = set(re.findall(r"<(?:method|signal) name=\"(\w+)\"", xml))
    check(f"methods and signals of {interface}", xml=methods, page=set(re.findall(r"\.?Fn (\w+)", text)))
    properties = set(re.findall(r"<property name=\"(\w+)\"", xml))
    names = set(re.findall(r"\bVa (\w+) [a-z]\b", text))
    check(f"properties of {interface}", xml=properties, page=names)
errors = dict(re.findall(r"#define (ERROR_\w+) \"org\.mshare1\.Error\.(\w+)\"", read("base/errors.h")))
check("errors", header=set(errors.values()), page=set(re.findall(r"^\.It Er (\w+)", api, re.M)),
      library={errors.get(name, name) for name in re.findall(r"\b(?<!SD_BUS_)(ERROR_\w+)", read("lib/broker-client.c"))})
actions_c = set(re.findall(r"#define ACTION_\w+ \"([\w.-]+)\"", read("daemon/policy/actions.h")))
actions = set(re.findall(r"<action id=\"([\w.-]+)\"", read("polkit/org.mshare1.policy")))
check("polkit actions", policy=actions, daemon=actions_c, page=set(re.findall(r"^\.It Sy (org\.mshare1\.[\w-]+)", api, re.M)))

# The files.
limits = set(re.findall(r"\[LIMIT_\w+\] = \{ \"(\w+)\"", read("daemon/model/limits.c")))
conf = read("man/mshared.conf.5")
check("limits", daemon=limits, page=set(re.findall(r"^\.It Va (\w+Max)$", conf, re.M)),
      bus={p for p in re.findall(r"<property name=\"(\w+Max)\"", read("dbus/org.mshare1.Manager.xml"))})
keys = set(re.findall(r"\{ \"(\w+)\", \"", read("region/region-file.c")))
told = set()
for item in re.findall(r"^\.It (Va .*)$", read("man/mshare-region@.service.8"), re.M):
    told |= set(re.findall(r"Va (\w+)", item))
check("keys of region files", program=keys, page=told)
variables = set(re.findall(r"getenv\(\"(MSHARE_\w+)\"", read("lib/preload-config.c") + read("lib/preload-env.c")))
told = set(re.findall(r"^\.It Ev (MSHARE_\w+)$", read("man/mshare-postgresql.7"), re.M))
check("environment of the preload library", library=variables, page=told)

print(f"1..{len(points)}")
sys.exit(0 if all(points) else 1)
