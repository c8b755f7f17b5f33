"""Machines that boot the image: Bochs and QEMU, each boot in a directory of its own.

A boot is headless, writes COM1 to a file and ends by itself: the hypervisor asks Bochs for power-off through
port 0x8900 and QEMU through isa-debug-exit. Whoever started it gets the console as lines and judges it; the
emulator's exit code alone is never a pass. docs/testing.md says why the options are what they are.
"""

import codecs
import fcntl
import functools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OVMF = "/usr/share/ovmf/OVMF.fd"
VGABIOS = "/usr/share/bochs/VGABIOS-lgpl-latest"
BOOT_SECONDS = 300
SETTLE_SECONDS = 0.5
START_TRIES = 5
NO_PORT = "could not bind any port"
MONITOR_SECONDS = 60
# A real PCI device whose registers a guest may be given: on no network, and without a ROM for the firmware to run.
NETWORK_CARD = ["-netdev", "user,id=nowhere,restrict=on", "-device", "e1000,netdev=nowhere,romfile="]
FEATURE_WARNING = "qemu-system-x86_64: warning: TCG doesn't support requested feature"

BOCHSRC = """\
plugin_ctrl: unmapped=1, biosdev=0, speaker=0, extfpuirq=1, parallel=0, serial=1, gameport=0, usb_uhci=0
display_library: rfb, options="timeout=0"
config_interface: textconfig
romimage: file={ovmf}
vgaromimage: file={vgabios}
cpu: model={model}, count={cpus}, ips=10000000, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest={mib}, host={host_mib}
pci: enabled=1, chipset=i440fx, slot1=e1000
e1000: enabled=1, mac=52:54:00:12:34:56, ethmod=null
com1: enabled=1, mode=file, dev={directory}/serial.txt
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path={directory}/disk.img, mode=flat, cylinders=130, heads=16, spt=63
port_e9_hack: enabled=1
magic_break: enabled=1
clock: sync=none, time0=946681200
log: {directory}/bochs.log
panic: action=fatal{panics}
error: action=ignore
info: action=ignore
"""

# Bochs keeps at most this much of a guest's memory in its own, and the rest in a file.
BOCHS_HOST_MIB = 2048


class Machine:
    """One boot. Subclasses give command(); start() to stop() is one run."""

    name = "?"

    def __init__(self, disk, seconds=BOOT_SECONDS, until=None):
        self.disk = disk
        self.seconds = seconds
        self.until = until  # a regular expression: the boot is over when a line matches it; see at_until()
        self.reached = False
        self.process = None
        self.directory = None
        self.timed_out = False
        self.exit_code = None
        self.started = None
        self.text = ""

    def command(self):
        raise NotImplementedError

    def ended_well(self):
        """True when the emulator ended because the software inside asked it to."""
        raise NotImplementedError

    def at_until(self):
        """Called when a line matched `until`, before the emulator is ended."""

    def path(self, name):
        return os.path.join(self.directory, name)

    def prepare(self):
        self.directory = tempfile.mkdtemp(prefix="barvisor-")
        # Sparse copies are cheap; a disk of its own lets boots run side by side.
        if self.disk:
            subprocess.run(["cp", "--sparse=always", self.disk, self.path("disk.img")], check=True)
        open(self.path("serial.txt"), "wb").close()

    def start(self):
        self.prepare()
        with open(self.path("output.txt"), "wb") as output:
            self.started = time.monotonic()
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=subprocess.STDOUT, cwd=self.directory, start_new_session=True)

    def follow(self, on_line=None):
        """Read the console until the emulator ends or time is up; on_line(line, seconds) is called live."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        pending = ""
        with open(self.path("serial.txt"), "rb") as serial:
            while True:
                ended = self.process.poll() is not None
                chunk = serial.read()
                now = time.monotonic() - self.started
                if chunk:
                    text = decoder.decode(chunk)
                    self.text += text
                    *whole, pending = (pending + text).split("\n")
                    for line in whole:
                        for part in tap.clean(line):
                            if on_line:
                                on_line(part, now)
                            if self.until and re.search(self.until, part):
                                self.reached = True
                if ended or self.reached:
                    break
                if now > self.seconds:
                    self.timed_out = True
                    break
                if not chunk:
                    time.sleep(0.02)
        for part in tap.clean(pending):
            if on_line:
                on_line(part, time.monotonic() - self.started)
        if self.reached:
            self.at_until()
        self.stop()

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process:
            self.exit_code = self.process.wait()

    def run(self, on_line=None):
        try:
            self.start()
            self.follow(on_line)
        except BaseException:
            self.stop()
            raise
        return self

    def lines(self):
        return tap.clean(self.text)

    def output(self):
        with open(self.path("output.txt"), errors="replace") as output:
            return output.read()

    def problems(self):
        """What went wrong with the emulator itself."""
        if self.reached:
            return []
        if self.timed_out:
            return [f"no end after {self.seconds} s"]
        if not self.ended_well():
            last = [line for line in tap.clean(self.output()) if not line.startswith("====")][-4:]
            return [f"{self.name} ended on its own with code {self.exit_code}: " + " | ".join(last)]
        return []

    def clean(self):
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.clean()


class Bochs(Machine):
    """Interprets VMX and SVM, so it runs anywhere; deterministic with one CPU: one instruction is one tick."""

    name = "bochs"

    def __init__(self, disk, model="corei7_haswell_4770", cpus=1, mib=512, script="c\n", panics="", **more):
        super().__init__(disk, **more)
        self.model = model
        self.cpus = cpus
        self.mib = mib
        self.panics = panics  # panics that do not end it, as the configuration has them
        self.script = script  # for the built-in debugger, which starts stopped

    def command(self):
        with open(self.path("bochsrc"), "w") as out:
            out.write(BOCHSRC.format(ovmf=OVMF, vgabios=VGABIOS, model=self.model, cpus=self.cpus, mib=self.mib,
                                     host_mib=min(self.mib, BOCHS_HOST_MIB), panics=self.panics,
                                     directory=self.directory))
        with open(self.path("script"), "w") as out:
            out.write(self.script)
        return ["bochs", "-q", "-f", self.path("bochsrc"), "-rc", self.path("script")]

    def start(self):
        """One at a time until the display has its port: two that start together can both get the same one,
        and the loser gives up at once."""
        lock = os.path.join(tempfile.gettempdir(), f"barvisor-bochs-{os.getuid()}.lock")
        with open(lock, "w") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            for _ in range(START_TRIES):
                super().start()
                time.sleep(SETTLE_SECONDS)
                if self.process.poll() is None or NO_PORT not in self.output():
                    return
                self.stop()
                self.clean()
            super().start()

    def ended_well(self):
        return "shutdown requested" in self.output()


class Qemu(Machine):
    """QEMU q35 with OVMF, by KVM (accel="kvm") or by its own translator (accel="tcg": SVM, but no VMX)."""

    name = "qemu"

    def __init__(self, disk, accel="kvm", cpu="host", cpus=1, mib=512, dump=False, picture=False,
                 window=False, extra=(), **more):
        super().__init__(disk, **more)
        self.accel = accel
        self.cpu = cpu
        self.cpus = cpus
        self.mib = mib
        self.dump = dump  # at `until`: all RAM into the file memory.bin, the registers into registers.txt
        self.picture = picture  # at `until`: what is on the screen into the file screen.ppm
        self.window = window  # on the screen of whoever runs it
        self.extra = list(extra)

    def command(self):
        monitor = ["-qmp", f"unix:{self.path('monitor')},server=on,wait=off"] if self.dump or self.picture else []
        # With a thread for each CPU, QEMU 7.2 tells RFLAGS wrongly when a locked instruction faults: docs/emulators.md.
        accel = "tcg,thread=single" if self.accel == "tcg" else self.accel
        return ["qemu-system-x86_64", "-machine", "q35", "-accel", accel, "-cpu", self.cpu,
                "-smp", str(self.cpus), "-m", str(self.mib), "-bios", OVMF,
                "-drive", f"file={self.path('disk.img')},format=raw,if=none,id=disk",
                "-device", "ide-hd,drive=disk,bus=ide.0", *NETWORK_CARD,
                "-serial", f"file:{self.path('serial.txt')}", *([] if self.window else ["-display", "none"]),
                "-monitor", "none", "-no-reboot",
                "-chardev", "null,id=e9", "-device", "isa-debugcon,iobase=0xe9,chardev=e9",
                "-device", "isa-debug-exit,iobase=0x501,iosize=4", *monitor, *self.extra]

    def at_until(self):
        if not self.dump and not self.picture:
            return
        monitor = Monitor(self.path("monitor"))
        monitor.ask("stop")
        if self.picture:
            monitor.ask("screendump", filename=self.path("screen.ppm"))
        if not self.dump:
            return
        with open(self.path("registers.txt"), "w") as out:
            out.write(monitor.ask("human-monitor-command", **{"command-line": "info registers"}))
        monitor.ask("pmemsave", val=0, size=self.mib << 20, filename=self.path("memory.bin"))

    def complaints(self):
        """What QEMU itself said. That its translator lacks a feature of the CPU model is no complaint."""
        return [line for line in self.output().splitlines()
                if line.startswith("qemu-system") and not line.startswith(FEATURE_WARNING)]

    def ended_well(self):
        # isa-debug-exit turns v into exit code 2v+1; an odd code is thus the software's own wish.
        return self.exit_code is not None and self.exit_code > 0 and self.exit_code % 2 == 1 and \
            not self.complaints()


class Monitor:
    """QEMU's monitor, in its language for machines (QMP)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(MONITOR_SECONDS)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r")
        self.lines.readline()  # its greeting
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        for line in self.lines:
            said = json.loads(line)
            if "return" in said:
                return said["return"]
            if "error" in said:
                raise OSError(f"{command}: {said['error']}")
        raise OSError(f"{command}: the monitor is gone")


# ------------------------------------------------------------------------------------------------ targets

KVM_GET_SUPPORTED_CPUID = 0xC008AE05
CPUID_ENTRY_BYTES = 40
CPUID_MAX_ENTRIES = 256
CPUID_1_ECX_VMX = 1 << 5
CPUID_80000001_ECX_SVM = 1 << 2

EPT, NPT = "EPT", "NPT"
KVM_CPU = {EPT: "host,+vmx", NPT: "host,+svm,+npt"}
# Checks that may be skipped, by the tables in use: [(pattern of the name, the reason that it must give)].
MAY_SKIP = {
    EPT: [],
    NPT: [(r"^(ranges|types): .*\bIPAT\b", "this CPU cannot ignore the guest's PAT")],
}


def kvm_cpuid():
    """{(leaf, index): (eax, ebx, ecx, edx)} that KVM can give to a guest; OSError when there is no KVM."""
    buffer = bytearray(struct.pack("<II", CPUID_MAX_ENTRIES, 0) + bytes(CPUID_ENTRY_BYTES * CPUID_MAX_ENTRIES))
    handle = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, KVM_GET_SUPPORTED_CPUID, buffer, True)
    finally:
        os.close(handle)
    count = struct.unpack_from("<I", buffer)[0]
    found = {}
    for entry in range(count):
        leaf, index, _, eax, ebx, ecx, edx = struct.unpack_from("<7I", buffer, 8 + CPUID_ENTRY_BYTES * entry)
        found[leaf, index] = (eax, ebx, ecx, edx)
    return found


def lacks(*needed):
    """Why a target cannot run here, as far as programs and files go; None when all are there."""
    for item in needed:
        there = os.path.exists(item) if item.startswith("/") else shutil.which(item)
        if not there:
            return f"{item} is not installed"
    return None


def bochs_lacks():
    return lacks("bochs", OVMF, VGABIOS)


def qemu_lacks():
    return lacks("qemu-system-x86_64", OVMF)


def kvm_tables(cpuid):
    """Which second-level tables KVM offers to guests, from what kvm_cpuid() gave; None: neither."""
    nothing = (0, 0, 0, 0)
    if cpuid.get((1, 0), nothing)[2] & CPUID_1_ECX_VMX:
        return EPT
    if cpuid.get((0x80000001, 0), nothing)[2] & CPUID_80000001_ECX_SVM:
        return NPT
    return None


def kvm_offer():
    """(tables or None, why not): /dev/kvm alone proves nothing, it is asked what it can give to a guest."""
    if not os.path.exists("/dev/kvm"):
        return None, "there is no /dev/kvm"
    try:
        tables = kvm_tables(kvm_cpuid())
    except OSError as error:
        return None, f"/dev/kvm: {error.strerror}"
    return tables, None if tables else "/dev/kvm is there, but it offers neither VMX nor SVM to guests"


@functools.lru_cache(maxsize=None)
def kvm_lacks():
    """Why QEMU with KVM cannot run the image; a trial machine must live for a second."""
    tables, why = kvm_offer()
    why = qemu_lacks() or why
    if why:
        return why
    command = ["qemu-system-x86_64", "-machine", "q35,accel=kvm", "-cpu", KVM_CPU[tables] + ",enforce", "-m", "64",
               "-S", "-display", "none", "-monitor", "none", "-serial", "none", "-net", "none"]
    trial = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        trial.wait(1)
        return "a trial start failed: " + trial.stderr.read().decode(errors="replace").strip().split("\n")[0]
    except subprocess.TimeoutExpired:
        return None
    finally:
        if trial.poll() is None:
            trial.kill()
        trial.wait()
        trial.stderr.close()


class Target:
    """A machine that the image runs on, as data."""

    def __init__(self, name, what, tables, lacks_what, make, words=""):
        self.name = name
        self.what = what
        self.tables = tables     # EPT or NPT; None when it cannot run here
        self.lacks = lacks_what  # () -> None or why it cannot run here
        self.make = make         # (disk, **options) -> Machine
        self.words = words       # for the guest's command line: what this machine does differently

    @property
    def may_skip(self):
        return MAY_SKIP.get(self.tables, [])


def kvm_target():
    tables, _ = kvm_offer()
    cpu = KVM_CPU.get(tables, "host")
    return Target("qemu-kvm", f"QEMU with KVM: the CPU's own VMX and EPT or SVM and NPT ({tables or 'none'} here), nested",
                  tables, kvm_lacks, lambda disk, **more: Qemu(disk, **{"accel": "kvm", "cpu": cpu, **more}))


HASWELL = "corei7_haswell_4770"
EPYC = "EPYC,+svm,+npt"

# `make run` takes the first that works, those with EPT before those with NPT.
TARGETS = [
    kvm_target(),
    Target("bochs-ept", "Bochs, a Haswell with VMX and EPT, interpreted", EPT, bochs_lacks,
           lambda disk, **more: Bochs(disk, **{"model": HASWELL, **more})),
    Target("qemu-npt", "QEMU's own translator, an EPYC with SVM and nested paging", NPT, qemu_lacks,
           lambda disk, **more: Qemu(disk, **{"accel": "tcg", "cpu": EPYC, **more}), words="quirk=canonical quirk=shadow"),
    Target("bochs-npt", "Bochs, a Ryzen with SVM and nested paging, interpreted", NPT, bochs_lacks,
           lambda disk, **more: Bochs(disk, **{"model": "ryzen", **more})),
]


def target(name):
    for each in TARGETS:
        if each.name == name:
            return each
    raise KeyError(name)


# ------------------------------------------------------------------------------------------------- disks

def with_words(config, words):
    r"""The text of a \barvisor.cfg with `words` at the end of the guest's command line."""
    if not words:
        return config
    with_line, found = re.subn(r"^([ \t]*cmdline[ \t]*=.*)$", lambda line: f"{line[1]} {words}", config, count=1,
                               flags=re.M)
    return with_line if found else f"{config.rstrip()}\ncmdline = {words}\n"


def make_disk(directory, config, guest=True, name="disk.img", efi=None):
    """A boot disk with the text `config` as \\barvisor.cfg, under `directory`. Returns its path."""
    config_path = os.path.join(directory, name + ".cfg")
    with open(config_path, "w") as out:
        out.write(config)
    path = os.path.join(directory, name)
    command = ["bash", os.path.join(ROOT, "tests/tools/mkimage.sh"),
               "-e", efi or os.path.join(ROOT, "build/barvisor.efi"), path, config_path]
    if guest:
        command.append(os.path.join(ROOT, "build/guest.elf"))
    subprocess.run(command, check=True)
    return path
