"""The tables of a guest on NPT, read from the memory of a QEMU that stands still.

QEMU cannot trace walks. But the tables do not change any more when the guest holds, so all of RAM is saved through
the monitor and walked here. Nothing that the hypervisor prints takes part: the VMCB is found by its looks (APM 2
"VMCB Layout"), of which there must be exactly one, and must know the CR3 that the CPU has at that moment.
"""

import mmap
import re
import struct

import oracle

PAGE = 4096
VMCB_ASID, VMCB_NESTED, VMCB_NESTED_CR3 = 0x58, 0x90, 0xB0
VMCB_EFER, VMCB_CR3, VMCB_CR0, VMCB_G_PAT = 0x4D0, 0x550, 0x558, 0x668
EFER_LMA_SVME = 1 << 12 | 1 << 10
CR0_PG_PE = 1 << 31 | 1
CR3 = re.compile(r"\bCR3=([0-9a-f]+)")
PRESENT, ACCESSED = 1, 1 << 5
BAR2_PAGES = 16384


class Memory:
    """RAM from address 0, and the CPU's registers, as QEMU saved them."""

    def __init__(self, computer):
        with open(computer.path("registers.txt")) as registers:
            self.cr3 = int(CR3.search(registers.read())[1], 16)
        with open(computer.path("memory.bin"), "rb") as ram:
            self.ram = mmap.mmap(ram.fileno(), 0, access=mmap.ACCESS_READ)

    def word(self, address):
        return struct.unpack_from("<Q", self.ram, address)[0]

    def is_vmcb(self, page, cr3):
        def field(offset):
            return self.word(page + offset)
        return field(VMCB_NESTED) & 1 and field(VMCB_ASID) & 0xFFFFFFFF and field(VMCB_CR3) == cr3 and \
            field(VMCB_EFER) & EFER_LMA_SVME == EFER_LMA_SVME and field(VMCB_CR0) & CR0_PG_PE == CR0_PG_PE

    def vmcb(self, cr3=None):
        """cr3: the guest's, where the CPU may have been stopped in the hypervisor."""
        cr3 = self.cr3 if cr3 is None else cr3
        found = [page for page in range(0, len(self.ram), PAGE) if self.is_vmcb(page, cr3)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} pages look like the VMCB of the guest with CR3 {cr3:#x}")
        return found[0]

    def walk(self, root, address, through=lambda table: table):
        """[(level, entry)] from the root; shorter than to a leaf when an entry is not present."""
        found, table = [], root
        for level in (4, 3, 2, 1):
            index = address >> oracle.shift(level) & 511
            entry = self.word(through(table & oracle.FRAME_MASK & ~(PAGE - 1)) + 8 * index)
            found.append((level, entry))
            if not entry & PRESENT or oracle.large_or_last(level, entry):
                break
            table = entry
        return found


def present(walk):
    return bool(walk[-1][1] & PRESENT)


class Guest:
    """What the memory says of the guest."""

    def __init__(self, computer, lines):
        """lines: what the guest announced, [{name: value}]."""
        memory = Memory(computer)
        vmcb = memory.vmcb()
        self.root = memory.word(vmcb + VMCB_NESTED_CR3)
        self.pat = memory.word(vmcb + VMCB_G_PAT)

        def nested(gpa):
            return memory.walk(self.root, gpa)

        def host(gpa):
            return oracle.frame(*nested(gpa)[-1], gpa)

        self.accesses = []
        for line in lines:
            guest = memory.walk(memory.cr3, line["gva"], host)
            gpa = oracle.frame(*guest[-1], line["gva"])
            if present(guest) and present(nested(gpa)):
                self.accesses.append(oracle.NptAccess(line["gva"], None, guest, nested(gpa)))
        # Every page of BAR2: where it leads, None for a hole.
        self.bar2 = []
        if lines:
            for page in range(BAR2_PAGES):
                gpa = lines[0]["bar2"] + page * PAGE
                self.bar2.append(oracle.NptAccess(gpa, None, [(1, gpa)], nested(gpa)) if present(nested(gpa)) else None)
