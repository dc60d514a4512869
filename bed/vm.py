# SPDX-License-Identifier: LGPL-2.1-or-later
"""One guest, from start to verdict.

A guest gets its work as a directory (9p share "job", or a tar archive on a disk) and talks
back over two virtio ports: "mshare.out" carries the output of the command, "mshare.ctl" the
one line "done EXIT-STATUS TAINT". The serial console is read while the guest
runs, and each line of it is held against the list of things that a healthy
kernel never says: a run in which the kernel complained has failed, whatever
the command thought of it.

Standard library only; QEMU 7.2 or later.
"""

import ctypes
import mmap
import os
import platform
import re
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence

import races

# Console lines that are shown with a failure.
CONTEXT = 50

# Seconds that an orderly shutdown may take if the disk is used again.
SHUTDOWN = 180

# Exit statuses of the test bed itself, besides 124 as from timeout(1).
TIMEOUT, KERNEL_COMPLAINT, NO_RESULT = 124, 125, 126

# Lines that fail a run. Each is the report of one of the kernel's checks.
COMPLAINT = re.compile(
    rb"BUG:|WARNING:|KASAN|UBSAN|KCSAN|Oops|Kernel panic|kernel BUG at|general protection fault"
    rb"|possible circular locking|possible recursive locking|possible irq lock inversion"
    rb"|inconsistent lock state|suspicious RCU usage|INVALID wait context|INFO: task .* blocked"
    rb"|blocked for more than|rcu: INFO: .*stall|detected (?:expedited )?stalls|soft lockup|hard LOCKUP|nobody cared"
    rb"|Bad rss-counter|non-zero pgtables_bytes|Bad page|bad pmd|bad pud|bad p4d|page_table_check"
    rb"|refcount_t:|list_(?:add|del) corruption|ODEBUG:|unable to handle|unreferenced object"
    rb"|kmemleak: [0-9]+ new suspected|kmemleak: .*(?:empty|disabled)")

# Bits of /proc/sys/kernel/tainted with the same meaning: a line that was lost still
# shows here (bad page, died, warned, soft lockup).
TAINT_BAD = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14

PR_SET_PDEATHSIG = 1


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """Ask the kernel to kill this process when its parent ends for any reason."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sig))


def clean_up_on_signals(and_without_parent: bool) -> None:
    """Turn signals that end the program into an exception, so that guests are stopped and files removed."""
    if and_without_parent:
        die_with_parent(signal.SIGTERM)
    for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(sig, lambda number, _frame: sys.exit(128 + number))


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def tsc_khz() -> int | None:
    """How fast this machine's time stamp counter counts, which is also that of an emulated guest."""
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3")      # rdtsc; shl $32, %rdx; or %rdx, %rax; ret
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def sample() -> tuple[int, int]:
        """The clock and the counter at the same time: of several attempts the one with the least in between."""
        tries = [(time.monotonic_ns(), rdtsc(), time.monotonic_ns()) for _ in range(100)]
        before, count, after = min(tries, key=lambda t: t[2] - t[0])
        return (before + after) // 2, count

    begin = sample()
    time.sleep(0.1)
    end = sample()
    return (end[1] - begin[1]) * 1000000 // (end[0] - begin[0])


class Machine:
    """What is booted: filled in by the caller, turned into QEMU's arguments here."""

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel        # directory with bzImage and release
        self.initrd: str | None = None      # path; the selftest guest
        self.root: str | None = None        # path of an ext4 image; the systemd guest
        self.disk: str | None = None        # path of a disk with a boot loader; then the kernel is that of the disk
        self.partition = False      # root is such a disk, and the root file system its first partition
        self.keep = False           # what the guest writes stays in that image
        self.memory = "1024"        # MiB, or with a suffix, as for qemu -m
        self.cpus = 2
        self.pti: bool | None = None        # None: the kernel decides
        self.la57: bool | None = None       # None or True: 5-level page tables where the CPU has them
        self.cpu_options = ""       # more of them for -cpu
        self.icount = False
        self.accel = "tcg"
        self.append = ""
        self.mount: str | None = None       # host directory for /mnt/host
        self.mount_readonly = False
        self.swap_mib = 0

    def arguments(self, work: str) -> tuple[list[str], str]:
        """QEMU's arguments, and the kernel's command line."""
        cpu = "max" if self.la57 is not False else "max,la57=off"
        if self.cpu_options:
            cpu += "," + self.cpu_options
        line = ["console=ttyS0", "loglevel=7", "panic=-1", "oops=panic", "hung_task_panic=1",
                "sysctl.kernel.panic_on_rcu_stall=1"]
        args = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                "-monitor", "none", "-no-reboot", "-machine", "q35", "-cpu", cpu,
                "-smp", str(self.cpus), "-m", self.memory]
        if not self.disk:
            args += ["-kernel", os.path.join(self.kernel, "bzImage")]
        if self.icount:
            # One instruction is one nanosecond of the guest's clock, and nothing
            # random enters: times in the guest are instruction counts.
            args += ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off",
                     "-rtc", "base=2026-01-01,clock=vm", "-seed", "1"]
            line += ["nokaslr", "norandmaps"]
        elif self.accel == "kvm":
            args += ["-accel", "kvm"]
        else:
            args += ["-accel", "tcg,thread=multi"]
            # On a busy host, the first ticks may come later than the kernel waits for
            # them, and it panics: "IO-APIC + timer doesn't work".
            # There a CPU of the guest may also get no time for the 20 s after which the
            # kernel takes it for stuck.
            line += ["no_timer_check", "watchdog_thresh=30", "rcupdate.rcu_cpu_stall_timeout=60"]
            # And the kernel, which measures its clock when it boots, may find a quarter of the
            # true frequency. Then all time limits in the guest are a quarter of what they should be.
            khz = tsc_khz()
            if khz:
                line += [f"tsc_early_khz={khz}"]
        for name in ("console", "out", "ctl"):
            args += ["-chardev", f"socket,id={name},path={work}/{name}.sock"]
        args += ["-serial", "chardev:console", "-device", "virtio-serial-pci,max_ports=4",
                 "-device", "virtserialport,chardev=out,name=mshare.out,nr=1",
                 "-device", "virtserialport,chardev=ctl,name=mshare.ctl,nr=2"]
        if self.disk:
            args += self._boot_disk(work)
        else:
            args += ["-fsdev", f"local,id=job,path={work}/job,security_model=none,readonly=on",
                     "-device", "virtio-9p-pci,fsdev=job,mount_tag=job"]
        if not self.icount:
            args += ["-device", "virtio-rng-pci"]
        if self.mount and not self.disk:
            # A comma separates QEMU's options; a double comma is a literal one.
            path = self.mount.replace(",", ",,")
            readonly = ",readonly=on" if self.mount_readonly else ""
            args += ["-fsdev", f"local,id=host,path={path},security_model=none,multidevs=remap{readonly}",
                     "-device", "virtio-9p-pci,fsdev=host,mount_tag=host"]
            line += ["mshare.mount"]
        if self.initrd:
            args += ["-initrd", self.initrd]
        if self.root:
            snapshot = "off" if self.keep else "on"
            args += ["-drive", f"file={self.root},if=none,id=root,format=raw,snapshot={snapshot},cache=unsafe",
                     "-device", "virtio-blk-pci,drive=root"]
            line += ["root=/dev/vda1" if self.partition else "root=/dev/vda", "rootfstype=ext4", "rw",
                     "systemd.show_status=0"]
            if not self.partition:
                line += ["init=/usr/lib/mshare-guest/preinit"]
        if self.swap_mib:
            path = os.path.join(work, "swap")
            with open(path, "wb") as file:
                file.truncate(self.swap_mib << 20)
            args += ["-drive", f"file={path},if=none,id=swap,format=raw,cache=unsafe",
                     "-device", "virtio-blk-pci,drive=swap,serial=mshare-swap"]
        if self.pti is not None:
            line += ["pti=on" if self.pti else "pti=off"]
        if self.append:
            line += [self.append]
        return args, " ".join(line)

    def _boot_disk(self, work: str) -> list[str]:
        """QEMU's arguments for a disk that boots by itself. Its kernel need not know 9P, so the job and
        the directory for /mnt/host are copies: tar archives on disks of their own (guest/unpack)."""
        snapshot = "off" if self.keep else "on"
        args = ["-drive", f"file={self.disk},if=none,id=boot,format=raw,snapshot={snapshot},cache=unsafe",
                "-device", "virtio-blk-pci,drive=boot,bootindex=1"]
        for name, folder in ("job", os.path.join(work, "job")), ("host", self.mount):
            if not folder:
                continue
            path = os.path.join(work, name + ".tar")
            with tarfile.open(path, "w") as archive:
                archive.add(folder, ".")
            args += ["-drive", f"file={path},if=none,id={name},format=raw,readonly=on",
                     "-device", f"virtio-blk-pci,drive={name},serial={name}"]
        return args


class Result:
    """The outcome of a run. status: the command's, or one of the test bed's own."""

    def __init__(self, console: str) -> None:
        self.status = NO_RESULT
        self.reason: str | None = None      # sentence, if the test bed decided
        self.complaints: list[str] = []     # console lines
        self.context: list[str] = []        # the first of them and what followed, or what the console said last
        self.taint = 0
        self.seconds = 0.0
        self.console = console      # path of the console log


class Guest:
    """One job in one machine."""

    def __init__(self, machine: Machine, log: str) -> None:
        self.machine = machine
        self.log = log
        self.work = tempfile.mkdtemp(prefix="mshare-vm-")
        self.job = os.path.join(self.work, "job")
        os.mkdir(self.job)
        self.qemu: subprocess.Popen[bytes] | None = None
        self.result = Result(log)
        self.races: races.Races | None = None       # decides on reports of KCSAN; None: each fails the run
        self.done: int | None = None        # the command's exit status, once it is known
        self._partial = b""
        self._ctl = b""
        self._said = 0

    def put(self, name: str, content: str, mode: int = 0o755) -> None:
        """A file of the job directory; content is text."""
        path = os.path.join(self.job, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(path, mode)

    def command(self, argv: Sequence[str]) -> None:
        self.put("cmd", "exec " + " ".join(shlex.quote(arg) for arg in argv) + "\n")

    def run(self, timeout: float | Callable[[], float] | None = None, on_output: Callable[[bytes], None] | None = None,
            interactive: bool = False) -> Result:
        """Boots, waits and judges. on_output gets the command's output in pieces. timeout:
        seconds from now, or a function that tells them, asked again and again."""
        begin = time.monotonic()
        try:
            self._run(begin, timeout, on_output or (lambda data: None), interactive)
        finally:
            self.close()
        self.result.seconds = time.monotonic() - begin
        self._judge()
        return self.result

    def close(self) -> None:
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
            self.qemu.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    def _listen(self, name: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(os.path.join(self.work, name + ".sock"))
        sock.listen(1)
        return sock

    def _run(self, begin: float, timeout: float | Callable[[], float] | None, on_output: Callable[[bytes], None],
             interactive: bool) -> None:
        listeners = {name: self._listen(name) for name in ("console", "out", "ctl")}
        args, line = self.machine.arguments(self.work)
        if interactive:
            args += ["-chardev", "stdio,id=tty,signal=off", "-device", "virtconsole,chardev=tty,nr=3"]
        if not self.machine.disk:
            args += ["-append", line]
        self.qemu = subprocess.Popen(
            args, stdin=None if interactive else subprocess.DEVNULL,
            stdout=None if interactive else subprocess.PIPE,
            stderr=subprocess.STDOUT if not interactive else None,
            preexec_fn=die_with_parent)

        handlers = {"console": self._on_console, "out": on_output, "ctl": self._on_ctl}
        with selectors.DefaultSelector() as sel, open(self.log, "wb") as self._file:
            for name, sock in listeners.items():
                sel.register(sock, selectors.EVENT_READ, ("accept", name, sock))
            if not interactive:
                pipe = self.qemu.stdout
                assert pipe
                sel.register(pipe, selectors.EVENT_READ, ("qemu", None, pipe))
            done_at = None
            while True:
                now = time.monotonic()
                limit = timeout() if callable(timeout) else timeout
                if limit and now - begin > limit and self.done is None:
                    self.result.status = TIMEOUT
                    self.result.reason = f"time limit of {limit:g} s reached, guest killed"
                    break
                if self.done is not None:
                    # Powering off takes a moment; the last console lines count too.
                    done_at = done_at or now
                    if now - done_at > (SHUTDOWN if self.machine.keep else 20):
                        if self.machine.keep:
                            self.done = None
                            self.result.reason = f"the guest has not shut down in {SHUTDOWN} s"
                        break
                events = sel.select(0.25)
                if not events and self.qemu.poll() is not None:
                    break
                for key, _ in events:
                    kind, name, source = key.data
                    if kind == "accept":
                        conn, _ = source.accept()
                        sel.unregister(source)
                        source.close()
                        sel.register(conn, selectors.EVENT_READ, ("read", name, conn))
                        continue
                    try:
                        data = os.read(source.fileno(), 1 << 16)
                    except ConnectionResetError:
                        data = b""
                    if not data:
                        sel.unregister(source)
                        source.close()
                    elif kind == "qemu":
                        note("qemu: " + data.decode("utf-8", "replace").rstrip())
                    else:
                        handlers[name](data)
            if self._partial:
                self._check_line(self._partial)
            race = self.races.end() if self.races else None
            if race:
                self.result.complaints.append(race)
            for key in list(sel.get_map().values()):
                key.data[2].close()

    def _on_console(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            self._check_line(line)

    def _check_line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        # The kernel prints its command line, which may contain anything.
        complains = bool(COMPLAINT.search(line)) and b"ommand line: " not in line
        if self.races:
            # The last line of a report decides. The kernel also prints how KCSAN is configured.
            race = self.races.feed(text)
            complains = race is not None or (complains and b"KCSAN" not in line)
            text = race or text
        if complains and not self.result.complaints:
            self.result.context = []
        if not self.result.complaints or len(self.result.context) < CONTEXT:
            self.result.context = self.result.context[-CONTEXT + 1:] + [text]
        if not complains:
            return
        self.result.complaints.append(text)
        if len(self.result.complaints) <= 5:
            note(f"guest kernel: {text}")

    def _on_ctl(self, data: bytes) -> None:
        self._ctl += data
        match = re.search(rb"^done (\d+) (\d+)$", self._ctl, re.M)
        if match and self.done is None:
            self.done = int(match[1])
            self.result.taint = int(match[2])

    def _judge(self) -> None:
        result = self.result
        if result.complaints:
            result.status = KERNEL_COMPLAINT
            result.reason = f"the guest's kernel complained: {result.complaints[0]}"
        elif result.taint & TAINT_BAD:
            result.status = KERNEL_COMPLAINT
            result.reason = f"the guest's kernel is tainted ({result.taint})"
        elif self.done is not None:
            result.status = self.done
        elif not result.reason:
            result.reason = (f"the guest ended without a result "
                             f"(qemu exit status {self.qemu.returncode if self.qemu else '?'})")


def qemu_version() -> str:
    text = subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.PIPE,
                          check=False, text=True).stdout
    return (text.splitlines() or ["?"])[0]


def kvm_boots(kernel: str, limit: float = 8) -> tuple[bool, str]:
    """Whether KVM boots this very kernel: without a root file system it panics
    at the end of its start, which ends QEMU. A /dev/kvm that exists proves
    little: QEMU may abort on it, or the guest may hang in the firmware."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "no usable /dev/kvm"
    args = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-machine", "q35", "-accel", "kvm", "-cpu", "max", "-smp", "2",
            "-m", "512", "-serial", "stdio", "-kernel", os.path.join(kernel, "bzImage"),
            "-append", "console=ttyS0 panic=-1"]
    with subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, preexec_fn=die_with_parent) as proc:
        try:
            text, _ = proc.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.communicate()
            return False, f"a guest under KVM did not come up in {limit} s"
    if b"Unable to mount root fs" in text:
        return True, "KVM boots this kernel"
    last = (text.decode("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
    return False, "KVM does not boot this kernel: " + last[:100]


def choose_accel(kernel: str, cache: str) -> tuple[str, str]:
    """("kvm" or "tcg", why). Probed once per boot of the host and kind of kernel."""
    forced = os.environ.get("MSHARE_ACCEL")
    if forced in ("kvm", "tcg"):
        return forced, "MSHARE_ACCEL is set"
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    with open(os.path.join(kernel, "release"), encoding="ascii") as file:
        release = file.read().strip()
    key = "\t".join([boot, qemu_version(), release])
    memo = os.path.join(cache, "kvm-probe")
    try:
        with open(memo, encoding="utf-8") as file:
            for line in file:
                if line.startswith(key + "\t"):
                    _, accel, why = line.rstrip("\n").rsplit("\t", 2)
                    return accel, why
    except FileNotFoundError:
        pass
    good, why = kvm_boots(kernel)
    accel = "kvm" if good else "tcg"
    os.makedirs(cache, exist_ok=True)
    with open(memo, "a", encoding="utf-8") as file:
        file.write(f"{key}\t{accel}\t{why.replace(chr(9), ' ')}\n")
    return accel, why
