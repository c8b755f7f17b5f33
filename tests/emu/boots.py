"""The boots that the tests look at, as data, and the machinery that runs them side by side.

Boots cost seconds each, so a test names its boot with @pytest.mark.boot("name"), all boots that the selected
tests need start at once, as many at a time as there are cores, and each test waits for its own.

"name@target" is the boot `name` on that entry of machine.TARGETS.
"""

import os
import re
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import machine
import memory
import oracle
import picture
import reference
import screen
import tap
import tutorial

SIDE_BY_SIDE = max(2, min(os.cpu_count() or 2, 8))
# More than the guest brackets accesses; what is left over is never reached.
ORACLE_STOPS = 500

# BAR4 lies over a physical window where no machine of the tests has anything.
# The boot module, of which ROMs are made, is the guest's own file: the guest can tell whether it is all there.
# Behind it are devices of every kind, as the checks of several devices need them: two that share memory and ring each
# other, and one whose memory is a section that the lab knows as well.
DEVICES = """\
device = edu
device = ivshmem name=plain size=1M
device = ivshmem name=pair size=1M doorbell vectors=4
device = ivshmem name=pair size=1M doorbell vectors=4
device = bochs-display
device = ivshmem name=lab.7 size=8M type=wc
"""
LAB = "guest = \\guest.elf\nmodule = \\guest.elf\nram = 64 split 32\n" \
    "device = lab bar4=8192 window=0x1000000000\n" + DEVICES
# The hole below 4 GiB as large as it is on real machines.
HOLE_LAB = "guest = \\guest.elf\nram = 3200 split 3072\ndevice = lab\n" + DEVICES


# What needs gigabytes of memory or a network card's registers has boots of its own.
BIG_LAB = "guest = \\guest.elf\nram = 64 split 32\ndevice = lab bar4=16384 window=0x1000000000\n"
CARD_LAB = "guest = \\guest.elf\nram = 64 split 32\ndevice = lab window=pci:8086:100e:0\n"
BIG_MIB = 4096


def lab(cmdline):
    return LAB + f"cmdline = {cmdline}\n"


# A mistake found before ExitBootServices goes back to the firmware, which then waits for somebody.
REFUSED = r"^boot: .*(expected|not found)"
HOLDING = r"^guest\| # oracle: holding$"
DRAWN = r"^guest\| # demo: holding$"

# Emulators run everywhere, so that they cannot is a failure; KVM is offered or not.
OPTIONAL = {"qemu-kvm"}
OFFERED = [each.name for each in machine.TARGETS if each.name not in OPTIONAL or each.lacks() is None]

ANNOUNCED = re.compile(r"^# oracle \d+ (.*)$")


def announced(report):
    """What the guest of test=oracle says it accesses: [{name: value}]."""
    found = []
    for line in report.guest:
        match = ANNOUNCED.match(line)
        if match:
            words = dict(word.split("=", 1) for word in match[1].split() if "=" in word)
            found.append({name: int(number, 0) for name, number in words.items()})
    return found


def look_at_trace(kind):
    return lambda computer, report: oracle.accesses(computer.output(), kind)


def look_at_memory(computer, report):
    return memory.Guest(computer, announced(report)) if computer.reached else None


def look_at_screen(computer, report):
    return screen.Picture(computer.path("screen.ppm")) if computer.reached else None


def look_at_picture(computer, report):
    return picture.Seen(computer) if computer.reached else None


class Boot:
    """What to boot on what. The options go to the machine.

    early: among the first to start, for it takes long.
    look: called with the machine and the report before its directory goes; the answer becomes Result.seen.
    bare: there is no disk and no Barvisor, the machine loads the guest itself.
    image: called for the path of another image than build/barvisor.efi.
    """

    def __init__(self, config, target="bochs-ept", guest=True, clang=False, early=False, look=None, bare=False,
                 image=None, **options):
        self.target = target if bare else machine.target(target)
        self.bare = bare
        self.config = machine.with_words(config, self.target.words)
        self.guest = guest
        self.clang = clang
        self.early = early
        self.look = look
        self.image = image
        self.options = options


class Result:
    """What one boot gave: the console as lines, the emulator's own output, what went wrong with it."""

    def __init__(self, computer, boot):
        self.lines = computer.lines()
        self.output = computer.output()
        self.problems = computer.problems()
        self.target = boot.target
        self.report = tap.Report(self.lines, expect_end=False, may_skip=boot.target.may_skip, bare=boot.bare)
        self.seen = boot.look(computer, self.report) if boot.look else None
        self.seconds = time.monotonic() - computer.started

    def text(self):
        return "\n".join(self.lines)

    def find(self, wanted):
        """The lines that contain `wanted`."""
        return [line for line in self.lines if wanted in line]

    def show(self, count=25):
        return "\n".join(["", "the console's last lines:", *self.lines[-count:]])


# Runs that must end the VM, and only the VM.
FATAL = ["fetch", "noexec", "triple", "walk", "hlt", "pause", "reset", "poweroff"]
TRACE = "c\n" + ORACLE_STOPS * "trace-mem on\nc\ntrace-mem off\nc\n"
# Bochs calls a triple fault in an SVM guest a panic and stops in its debugger; when told to go on, the exit comes.
FATAL_OPTIONS = {("triple", "bochs-npt"): {"script": "c\nc\n", "panics": ", cpu0=report"}}
BIG = {"cpus": 2, "mib": 6144}  # two CPUs, memory above 4 GiB

BOOTS = {
    # the guest's checks on every target, the image of each compiler
    **{f"all@{name}": Boot(lab("test=all"), name, early=True) for name in OFFERED},
    "clang@bochs-ept": Boot(lab("test=all"), "bochs-ept", clang=True, early=True),
    "clang@qemu-npt": Boot(lab("test=all"), "qemu-npt", clang=True, early=True),
    **{f"big@{name}": Boot(BIG_LAB + "cmdline = test=big\n", name, early=True, mib=BIG_MIB) for name in OFFERED},
    "hole@qemu-npt": Boot(HOLE_LAB + "cmdline = test=memory+scenario\n", "qemu-npt", **BIG),
    **{f"card@{name}": Boot(CARD_LAB + "cmdline = test=card\n", name) for name in OFFERED},
    **{f"{run}@{name}": Boot(lab(f"test={run}"), name, **FATAL_OPTIONS.get((run, name), {}))
       for name in OFFERED for run in FATAL},
    # QEMU's own devices, without Barvisor
    **{f"reference@{chipset}": Boot("", reference.reference(chipset), bare=True,
                                    words=f"test={'+'.join(reference.GROUPS)}") for chipset in ("q35", "pc")},
    # the walk of each access, for the memory-type oracle
    "oracle@bochs-ept": Boot(lab("test=oracle"), "bochs-ept", script=TRACE, look=look_at_trace(oracle.EptAccess)),
    "oracle@bochs-npt": Boot(lab("test=oracle"), "bochs-npt", script=TRACE, look=look_at_trace(oracle.NptAccess)),
    "oracle@qemu-npt": Boot(lab("test=oracle hold"), "qemu-npt", until=HOLDING, dump=True, look=look_at_memory),
    # every ACPI table as text
    "tables@qemu-npt": Boot(lab("test=acpi dump"), "qemu-npt"),
    # the device of docs/first-device.md, as its reader makes it
    **{f"first@{name}": Boot(tutorial.page().config, name, image=tutorial.image) for name in OFFERED},
    # what the hypervisor drives itself: the log on the machine's screen, tables, a real device's BAR
    "host": Boot("guest = \\guest.elf\nram = 64 split 32\ncmdline = test=oracle hold\nscreen = on\n"
                 "device = lab window=pci:8086:100e:0\n", "qemu-npt", until=HOLDING, picture=True, look=look_at_screen),
    # a guest's picture on the machine's screen
    "picture": Boot("guest = \\guest.elf\nram = 64\ncmdline = test=demo hold\ndevice = bochs-display\n", "qemu-npt",
                    until=DRAWN, dump=True, picture=True, look=look_at_picture),
    "no-card": Boot("guest = \\guest.elf\nram = 64\ncmdline = test=pci\n"
                    "device = lab window=pci:1234:fff0:0\n", "bochs-npt"),
    # CPUs that cannot do it
    "neither": Boot(lab("test=all"), "bochs-ept", model="athlon64_clawhammer"),
    "neither-amd": Boot(lab("test=all"), "qemu-npt", cpu="qemu64,-svm", **BIG),
    "neither-intel": Boot(lab("test=all"), "qemu-npt", cpu="Nehalem", **BIG),
    "no-ept": Boot(lab("test=all"), "bochs-ept", model="core2_penryn_t9600"),
    "no-npt": Boot(lab("test=all"), "qemu-npt", cpu="EPYC,+svm,-npt"),
    # firmware with ACPI, two CPUs and memory above 4 GiB
    "q35": Boot(lab("test=all"), "qemu-npt", early=True, **BIG),
    # mistakes on the volume
    "no-guest": Boot(lab("test=all"), "bochs-ept", until=REFUSED, guest=False),
    "bad-key": Boot(LAB + "colour = red\n", "qemu-npt", until=REFUSED),
    "bad-ram": Boot("guest = \\guest.elf\n\nram = much\n", "qemu-npt", until=REFUSED),
    "bad-line": Boot("# a comment\nguest\n", "qemu-npt", until=REFUSED),
    "no-guest-key": Boot("ram = 64\n", "qemu-npt", until=REFUSED),
    "bad-device": Boot("guest = \\guest.elf\nram = 64\ndevice = teapot\n", "qemu-npt"),
    "too-much-ram": Boot("guest = \\guest.elf\nram = 100G\n", "qemu-npt"),
}


class Runner:
    """Runs boots in threads and keeps their results for the session."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        self.results = {}
        self.lock = threading.Lock()

    def _run(self, name):
        boot = BOOTS[name]
        efi = os.path.join(machine.ROOT, "build/clang/barvisor.efi") if boot.clang else None
        efi = boot.image() if boot.image else efi
        with tempfile.TemporaryDirectory(prefix="barvisor-disk-") as directory:
            disk = None if boot.bare else machine.make_disk(directory, boot.config, guest=boot.guest, efi=efi)
            with boot.target.make(disk, **boot.options) as computer:
                computer.run()
                return Result(computer, boot)

    def start(self, names):
        """Those that take long first, so that none of them is left alone at the end."""
        with self.lock:
            for name in sorted(set(names) - set(self.results), key=lambda name: not BOOTS[name].early):
                self.results[name] = self.pool.submit(self._run, name)

    def result(self, name):
        self.start([name])
        return self.results[name].result()

    def finished(self, name):
        """The result of a boot that has run, without waiting; else None."""
        future = self.results.get(name)
        return future.result() if future and future.done() and not future.exception() else None

    def close(self):
        self.pool.shutdown(wait=False, cancel_futures=True)
