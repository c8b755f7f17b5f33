"""The boots that the tests look at, as data, and the machinery that runs them side by side.

Boots cost seconds each, so a test names its boot with @pytest.mark.boot("name"), all boots that the selected
tests need start at once, two at a time, and each test waits for its own.
"""

import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import machine
import tap

SIDE_BY_SIDE = 2
# More than the guest brackets accesses; what is left over is never reached.
ORACLE_STOPS = 500

# BAR4 lies over a physical window where no machine of the tests has anything.
LAB = "guest = \\guest.elf\nram = 64 split 32\ndevice = lab bar4=2048 window=0x1000000000\n"


def lab(cmdline):
    return LAB + f"cmdline = {cmdline}\n"


# A mistake found before ExitBootServices goes back to the firmware, which then waits for somebody.
REFUSED = r"^boot: .*(expected|not found)"


def bochs(**options):
    return lambda disk: machine.Bochs(disk, **options)


def qemu(**options):
    return lambda disk: machine.Qemu(disk, **options)


class Boot:
    """What to boot on what."""

    def __init__(self, config, make=bochs(), guest=True, clang=False):
        self.config = config
        self.make = make
        self.guest = guest
        self.clang = clang


class Result:
    """What one boot gave: the console as lines, the emulator's own output, what went wrong with it."""

    def __init__(self, computer):
        self.lines = computer.lines()
        self.output = computer.output()
        self.problems = computer.problems()
        self.report = tap.Report(self.lines, expect_end=False)

    def text(self):
        return "\n".join(self.lines)

    def find(self, wanted):
        """The lines that contain `wanted`."""
        return [line for line in self.lines if wanted in line]

    def show(self, count=25):
        return "\n".join(["", "the console's last lines:", *self.lines[-count:]])


BOOTS = {
    # the guest's checks, the image of each compiler
    "all": Boot(lab("test=all")),
    "clang": Boot(lab("test=all"), clang=True),
    # runs that must end the VM, and only the VM
    "fetch": Boot(lab("test=fetch")),
    "triple": Boot(lab("test=triple")),
    "walk": Boot(lab("test=walk")),
    "hlt": Boot(lab("test=hlt")),
    # the walk of each access, for the memory-type oracle
    "oracle": Boot(lab("test=oracle"), bochs(script="c\n" + ORACLE_STOPS * "trace-mem on\nc\ntrace-mem off\nc\n")),
    # CPUs that cannot do it
    "no-vmx": Boot(lab("test=all"), bochs(model="athlon64_clawhammer")),
    "no-ept": Boot(lab("test=all"), bochs(model="core2_penryn_t9600")),
    # firmware with ACPI, two CPUs and memory above 4 GiB
    "q35": Boot(lab("test=all"), qemu(accel="tcg", cpu="Nehalem", cpus=2, mib=6144)),
    # mistakes on the volume
    "no-guest": Boot(lab("test=all"), bochs(until=REFUSED), guest=False),
    "bad-key": Boot(LAB + "colour = red\n", bochs(until=REFUSED)),
    "bad-ram": Boot("guest = \\guest.elf\n\nram = much\n", bochs(until=REFUSED)),
    "bad-line": Boot("# a comment\nguest\n", bochs(until=REFUSED)),
    "no-guest-key": Boot("ram = 64\n", bochs(until=REFUSED)),
    "bad-device": Boot("guest = \\guest.elf\nram = 64\ndevice = teapot\n"),
    "too-much-ram": Boot("guest = \\guest.elf\nram = 100G\n"),
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
        with tempfile.TemporaryDirectory(prefix="barvisor-disk-") as directory:
            disk = machine.make_disk(directory, boot.config, guest=boot.guest, efi=efi)
            with boot.make(disk) as computer:
                computer.run()
                return Result(computer)

    def start(self, name):
        with self.lock:
            if name not in self.results:
                self.results[name] = self.pool.submit(self._run, name)
            return self.results[name]

    def result(self, name):
        return self.start(name).result()

    def close(self):
        self.pool.shutdown(wait=False, cancel_futures=True)
