#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boot one guest, run one command in it, exit with its status.

The command line of ./run guest is parsed here. ./run first calls

    guest.py --needs KINDS RELEASES SWITCHES...

to have the switches checked and to learn what it must build, and then

    guest.py --kernel ... --root ... SWITCHES...

with what it has built. A KIND of kernel or a RELEASE has no effect there.
"""

import argparse
import contextlib
import os
import re
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable
from typing import NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm  # noqa: E402


SWITCHES = ("-k -m -c --init --mount --timeout --append --pti --la57 --bare --release --icount --no-install; "
            "a command stands after --")


def usage_error(message: str) -> NoReturn:
    vm.note(f"run: {message}\nTry: run --help")
    sys.exit(2)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in the words of ./run."""

    def error(self, message: str) -> NoReturn:
        switch, _, what = message.removeprefix("argument ").partition(": ")
        if what.startswith("expected one argument"):
            usage_error(f"Missing value for {switch}")
        usage_error(f"Invalid {switch} {what}" if what.startswith("'") else f"guest: {message}")


def invalid(text: str, rule: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"'{text}': expected {rule}")


def choice(words: list[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        return text if text in words else invalid(text, "one of: " + " ".join(words))
    return check


def number(low: int, high: int) -> Callable[[str], int]:
    def check(text: str) -> int:
        if not re.fullmatch("[0-9]{1,7}", text) or not low <= int(text) <= high:
            invalid(text, f"a number from {low} to {high}")
        return int(text)
    return check


def size(text: str) -> str:
    return text if re.fullmatch("[1-9][0-9]{0,6}[MG]?", text) else invalid(text, "MiB, or a number with the suffix M or G")


def folder(text: str) -> str:
    return text if os.path.isdir(text) else invalid(text, "a directory")


def on_off(text: str) -> bool:
    return choice(["on", "off"])(text) == "on"


def switches(kinds: list[str], releases: list[str]) -> Parser:
    """The switches of ./run guest. An empty list accepts every word."""
    ap = Parser(add_help=False, allow_abbrev=False)
    ap.add_argument("-k", dest="kind", type=choice(kinds) if kinds else str, default="mshare")
    ap.add_argument("--init", type=choice(["systemd", "selftest"]), default="systemd")
    ap.add_argument("--bare", action="store_true")
    ap.add_argument("--release", type=choice(releases) if releases else str)
    ap.add_argument("-m", dest="memory", type=size, default="1024")
    ap.add_argument("-c", dest="cpus", type=number(1, 8), default=2)
    ap.add_argument("--append", default="")
    ap.add_argument("--pti", type=on_off)
    ap.add_argument("--la57", type=on_off)
    ap.add_argument("--icount", action="store_true")
    ap.add_argument("--mount", type=folder)
    ap.add_argument("--timeout", type=number(1, 1000000))
    return ap


def add_machine(ap: Parser) -> None:
    """The arguments that ./run adds, or gives instead of the switches for a guest of its own."""
    ap.add_argument("--kernel", required=True)
    ap.add_argument("--initrd")
    ap.add_argument("--root")
    ap.add_argument("--disk", help="boot this disk, by its own boot loader and with its own kernel")
    ap.add_argument("--partition", action="store_true", help="the root file system is the first partition of --root")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--keep", action="store_true", help="what the guest writes stays in the image of --root or --disk")
    ap.add_argument("--overlay", help="tar file, unpacked over / before systemd starts")
    ap.add_argument("--put", action="append", default=[], help="file for /run/job in the guest")
    ap.add_argument("--quiet", action="store_true", help="no line about the machine")
    ap.add_argument("--die-with-parent", action="store_true")


def parse(ap: Parser, args: list[str]) -> argparse.Namespace:
    command = None
    if "--" in args:
        at = args.index("--")
        args, command = args[:at], args[at + 1:]
    opts, unknown = ap.parse_known_args(args)
    if unknown:
        usage_error(f"guest: unknown switch: '{unknown[0]}'; switches are: {SWITCHES}")
    if command == []:
        usage_error("guest: no command after --")
    if opts.release and opts.init != "systemd":
        usage_error("guest: --release is for --init systemd: the selftest guest has no Debian")
    opts.command = command
    if command and opts.timeout is None:
        opts.timeout = 900
    return opts


def print_needs(kinds: str, releases: str, *args: str) -> int:
    """Checks the switches of ./run guest, and prints what must be built for them."""
    opts = parse(switches(kinds.split(), releases.split()), list(args))
    print(opts.kind, opts.init, "bare" if opts.bare else "", opts.release or "", sep="\n")
    return 0


def log_path(cache: str) -> str:
    """A console log of its own for this run; the newest twenty stay."""
    folder = os.path.join(cache, "log")
    os.makedirs(folder, exist_ok=True)
    # Names sort by age. Another guest that starts now may clear the same ones away.
    old = sorted(name for name in os.listdir(folder) if name.startswith("console-"))
    for name in old[:-19]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return os.path.join(folder, f"console-{stamp}-{os.getpid()}.log")


def make_machine(opts: argparse.Namespace) -> tuple[vm.Machine, str]:
    machine = vm.Machine(opts.kernel)
    machine.initrd, machine.root = opts.initrd, opts.root
    machine.disk, machine.partition, machine.keep = opts.disk, opts.partition, opts.keep
    machine.memory, machine.cpus, machine.append = opts.memory, opts.cpus, opts.append
    machine.pti, machine.la57, machine.icount = opts.pti, opts.la57, opts.icount
    machine.mount = os.path.abspath(opts.mount) if opts.mount else None
    machine.swap_mib = 256 if opts.initrd else 0
    if opts.icount:
        machine.accel, why = "tcg", "instructions are counted"
        machine.cpus = 1
    else:
        machine.accel, why = vm.choose_accel(opts.kernel, opts.cache)
    if machine.accel == "kvm" and opts.la57:
        with open("/proc/cpuinfo", encoding="ascii") as file:
            if " la57" not in file.read():
                machine.accel, why = "tcg", "this CPU has no 5-level page tables"
    return machine, why


def write_all(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def main() -> int:
    if sys.argv[1:2] == ["--needs"]:
        return print_needs(*sys.argv[2:])
    # The words of these two were checked then.
    ap = switches([], [])
    add_machine(ap)
    opts = parse(ap, sys.argv[1:])
    vm.clean_up_on_signals(and_without_parent=opts.die_with_parent)

    machine, why = make_machine(opts)
    if not opts.quiet:
        with open(os.path.join(opts.kernel, "release"), encoding="ascii") as file:
            release = file.read().strip()
        vm.note(f"==> guest: {'kernel of its own disk' if machine.disk else release}, {machine.cpus} CPU(s), {machine.memory} MiB, "
                f"{'KVM' if machine.accel == 'kvm' else 'emulated (TCG)'}: {why}")

    guest = vm.Guest(machine, log_path(opts.cache))
    if opts.overlay:
        shutil.copy(opts.overlay, os.path.join(guest.job, "overlay.tar"))
    for path in opts.put:
        shutil.copy(path, guest.job)
    terminal = None
    try:
        if opts.command:
            guest.command(opts.command)
            result = guest.run(opts.timeout, write_all)
        elif not sys.stdin.isatty():
            # Commands from a pipe or a file: they are the job.
            guest.put("cmd", sys.stdin.read())
            result = guest.run(opts.timeout, write_all)
        else:
            size = shutil.get_terminal_size()
            guest.put("interactive", f"{size.lines}\n{size.columns}\n{os.environ.get('TERM', 'linux')}\n")
            vm.note("==> leave the guest with: exit")
            terminal = termios.tcgetattr(0)
            tty.setraw(0)
            result = guest.run(opts.timeout, write_all, interactive=True)
    finally:
        guest.close()
        if terminal:
            termios.tcsetattr(0, termios.TCSADRAIN, terminal)
    if result.reason:
        vm.note(f"run: {result.reason}")
        if result.status != vm.TIMEOUT:
            for line in result.context:
                vm.note(f"      | {line}")
        vm.note(f"run: the console's log: {result.console}")
    return result.status


if __name__ == "__main__":
    sys.exit(main())
