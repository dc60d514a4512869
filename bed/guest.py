#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boot one guest, run one command in it, exit with its status.

Called by ./run, which has checked the switches and built what is booted.
"""

import argparse
import contextlib
import os
import shutil
import sys
import termios
import time
import tty

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import vm  # noqa: E402


def on_off(text: str) -> bool:
    return {"on": True, "off": False}[text]


def parse() -> argparse.Namespace:
    ap = argparse.ArgumentParser()
    ap.add_argument("--kernel", required=True)
    ap.add_argument("--initrd")
    ap.add_argument("--root")
    ap.add_argument("--disk", help="boot this disk, by its own boot loader and with its own kernel")
    ap.add_argument("--partition", action="store_true", help="the root file system is the first partition of --root")
    ap.add_argument("--cache", required=True)
    ap.add_argument("--keep", action="store_true", help="what the guest writes stays in the image of --root or --disk")
    ap.add_argument("--overlay", help="tar file, unpacked over / before systemd starts")
    ap.add_argument("--put", action="append", default=[], help="file for /run/job in the guest")
    ap.add_argument("--memory", default="1024")
    ap.add_argument("--cpus", type=int, default=2)
    ap.add_argument("--append", default="")
    ap.add_argument("--pti", type=on_off)
    ap.add_argument("--la57", type=on_off)
    ap.add_argument("--icount", action="store_true")
    ap.add_argument("--mount")
    ap.add_argument("--timeout", type=float)
    ap.add_argument("--quiet", action="store_true", help="no line about the machine")
    ap.add_argument("--die-with-parent", action="store_true")
    ap.add_argument("command", nargs="*")
    return ap.parse_args()


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
    opts = parse()
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
