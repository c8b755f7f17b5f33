"""The guest test kernel on QEMU's own devices, without a hypervisor: what ours are held against.

QEMU loads build/guest.elf itself (PVH); SeaBIOS gives the BARs their addresses. docs/testing.md, "Reference run".
"""

import os

import machine

# Devices that QEMU has too, and the local APIC.
GROUPS = ["edu", "ivshmem", "dispi", "apic", "irq"]
SHARED_MIB = 1

OK, FAILED, ABSENT = "ok", "not ok", "absent"


def skipped(why):
    return f"skipped: {why}"


def differ(group, names, on_qemu, why):
    """Entries of checks that are skipped on QEMU for the same reason, and run on Barvisor."""
    return {f"{group}: {name}": (skipped(on_qemu), OK, why) for name in names}


# What may come out differently: {check: (on QEMU, on Barvisor, why)}. An entry that does not occur is a failure.
DIFFERENCES = {
    "edu: the whole buffer there and back":
        (skipped("QEMU's edu refuses the last byte of its buffer"), OK,
         "QEMU 7.2 takes the end of a transfer for a byte of it, and ends with a fatal error"),
    "edu: transfers beside the buffer copy nothing":
        (skipped("QEMU's edu ends the machine"), OK, "QEMU 7.2 ends with a fatal error"),
    **differ("ivshmem: doorbell",
             ["ids, BARs, positions of two", "two devices with one memory", "nobody and no vector",
              *[f"peer {one} rings every vector of peer {other}" for one in (0, 1) for other in (0, 1)],
              "a vector that is masked waits", "a vector that is masked with all others waits",
              "each answers the other, and data comes before interrupts"],
             "no two ivshmem-doorbell devices", "QEMU's doorbell needs a server, a process of its own"),
    **differ("apic", ["reset values", "the page moves", "IA32_APIC_BASE refuses reserved bits",
                      "illegal vectors and registers: ESR and its interrupt"],
             "not with QEMU's own APIC", "t_apic.c says for each what QEMU's APIC lacks or its firmware changed"),
    **differ("apic", ["TSC deadline with interrupts on", "TSC deadline in HLT", "TSC deadline: past, 0, other modes"],
             "no TSC deadline", "QEMU's translator has none"),
    **differ("apic", ["x2APIC: every MSR in both modes", "x2APIC: reserved bits",
                      "the ways between off, xAPIC and x2APIC", "x2APIC: what the change of mode keeps",
                      "x2APIC: destinations and the self IPI", "x2APIC: timer, errors, order"],
             "no x2APIC", "QEMU's translator has none before version 9"),
    **differ("irq", [*[f"a {access} in the shadow of STI, of a {place}" for access in ("load", "store")
                       for place in ("register", "hole")], "IDT and stack in a BAR"],
             "no lab device", "the lab is Barvisor's own"),
}


class Bare(machine.Machine):
    """QEMU with a kernel in place of a disk, and its own devices."""

    name = "qemu"

    def __init__(self, disk, chipset="q35", words="", **more):
        super().__init__(disk, **more)
        self.chipset = chipset
        self.words = words

    def command(self):
        return ["qemu-system-x86_64", "-machine", self.chipset, "-accel", "tcg,thread=single", "-cpu", machine.EPYC,
                "-m", "128", "-nodefaults", "-vga", "none", "-kernel", os.path.join(machine.ROOT, "build/guest.elf"),
                "-append", self.words, "-serial", f"file:{self.path('serial.txt')}", "-display", "none", "-monitor",
                "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0x501,iosize=4", "-device", "edu",
                "-object", f"memory-backend-ram,id=shared,size={SHARED_MIB}M,share=on",
                "-device", "ivshmem-plain,memdev=shared",
                # SeaBIOS would run its ROM, and the registers would not have their first values.
                "-device", "bochs-display,romfile="]

    def ended_well(self):
        # As the guest says: the exit code is 2v + 1.
        return self.exit_code is not None and self.exit_code > 0 and self.exit_code % 2 == 1


def reference(chipset):
    return machine.Target(f"reference-{chipset}", f"QEMU's own devices on {chipset}, no hypervisor", None,
                          machine.qemu_lacks, lambda disk, **more: Bare(disk, chipset=chipset, **more))


def outcome(check):
    if not check.passed:
        return FAILED
    return OK if check.skipped is None else skipped(check.skipped)


def outcomes(report, groups):
    """{name: outcome} of the checks of these groups, in their order."""
    return {check.text: outcome(check) for check in report.checks if check.group in groups}


def compare(theirs, ours, differences):
    """What is wrong with two outcomes(), and with the table."""
    problems = [f"the table's entry does not occur: {name}" for name in differences
                if name not in theirs and name not in ours]
    for name in [*theirs, *[name for name in ours if name not in theirs]]:
        pair = theirs.get(name, ABSENT), ours.get(name, ABSENT)
        allowed = differences.get(name)
        if allowed and pair[0] == pair[1]:
            problems.append(f"the table's entry does not occur: {name}: {pair[0]} on both")
        elif allowed and pair != allowed[:2]:
            problems.append(f"{name}: {pair[0]} on QEMU, {pair[1]} on Barvisor, and not as the table has it")
        elif not allowed and pair[0] != pair[1]:
            problems.append(f"{name}: {pair[0]} on QEMU, {pair[1]} on Barvisor")
    return problems
