"""The guest test kernel on every target: every group of its checks, with the image of either compiler."""

import os
import re
import struct

import boots
import machine
import pytest

GROUPS = ["pci", "ranges", "trap", "forms", "cross", "insn", "string", "faults", "step", "modes", "cpu", "regs",
          "types", "status", "section", "names", "dynamic", "bars", "overlap", "share", "display", "replace",
          "batch", "reserve", "memory", "view", "window", "rom", "resize", "doorbell", "churn", "many", "storm",
          "chance", "stress", "apic", "irq", "edu", "ivshmem", "dispi", "scenario", "acpi", "caps", "bus", "virtio",
          "cmb", "lifetime"]
# Groups with a boot of their own.
APART = ["big", "card"]
# Its device reaches 256 MiB.
HOLE_SKIPS = {"scenario: edu's transfers end at the top of low RAM"}
WHOLE = [f"all@{name}" for name in boots.OFFERED]


def judge(boot):
    assert not boot.problems, boot.show()
    assert not boot.report.problems, "\n".join(boot.report.problems[:40]) + boot.show()
    assert boot.report.stopped.startswith("the guest ended it"), boot.report.stopped
    assert list(boot.report.groups()) == GROUPS


@pytest.mark.parametrize("boot_name", [*WHOLE, "clang@bochs-ept", "clang@qemu-npt", "q35"])
def test_run_as_a_whole(boot, boot_name):
    """Plan, marker, end of the VM, and nothing skipped that need not be."""
    judge(boot)


@pytest.mark.parametrize("boot_name", WHOLE)
def test_what_may_be_skipped_is_skipped(boot, boot_name):
    """The other direction: a check that cannot hold here and passes nevertheless checks nothing."""
    may = {check.text for check in boot.report.checks
           if any(re.search(name, check.text) for name, _ in boot.target.may_skip)}
    assert {check.text for check in boot.report.skipped()} == may


@pytest.mark.parametrize("boot_name", [f"{group}@{name}" for name in boots.OFFERED for group in APART])
def test_group_apart(boot, boot_name):
    """Nothing may be skipped: these machines were made for it."""
    assert not boot.problems, boot.show()
    assert not boot.report.problems, "\n".join(boot.report.problems) + boot.show()
    assert list(boot.report.groups()) == [boot_name.split("@")[0]]
    assert not boot.report.skipped(), boot.show()


@pytest.mark.boot("hole@qemu-npt")
def test_a_hole_of_a_gib(boot):
    """RAM up to 3 GiB, and on from 4 GiB: copies of 32 MiB on either side."""
    assert not boot.problems, boot.show()
    assert {check.text for check in boot.report.checks if check.skipped} == HOLE_SKIPS, boot.show()
    assert not [check for check in boot.report.checks if not check.passed], boot.show()
    assert boot.report.stopped.startswith("the guest ended it"), boot.report.stopped
    assert "guest| # RAM up to 0xc0000000 and up to 0x108000000; 0x2000000 bytes on either side" in boot.lines


@pytest.mark.parametrize("boot_name", WHOLE)
def test_the_backend_is_the_target_s(boot, boot_name):
    room = {machine.EPT: "vmx: ", machine.NPT: "svm: "}
    others = [prefix for tables, prefix in room.items() if tables != boot.target.tables]
    assert any(line.startswith(room[boot.target.tables]) for line in boot.lines), boot.show(60)
    assert not any(line.startswith(tuple(others)) for line in boot.lines), boot.show(60)


@pytest.mark.parametrize("boot_name", WHOLE)
@pytest.mark.parametrize("group", GROUPS)
def test_group(boot, boot_name, group):
    checks = boot.report.groups().get(group, [])
    assert checks, f"no check of the group {group} ran" + boot.show()
    failed = [str(check) for check in checks if not check.passed]
    assert not failed, f"{len(failed)} of {len(checks)}:\n" + "\n".join(failed)


# The linker's note with the hash: sizes of name and hash, kind, name (ELF "Note Section").
NOTE = struct.pack("<III", 4, 20, 3) + b"GNU\0"


def build_of(image):
    with open(os.path.join(machine.ROOT, image), "rb") as efi:
        _, found = efi.read().split(NOTE)
    return found[:20].hex()


@pytest.mark.parametrize("boot_name", [*WHOLE, "q35"])
def test_every_target_ran_the_same_image(boot, boot_name):
    assert boot.report.build == build_of("build/barvisor.efi"), boot.show(60)


@pytest.mark.boot("clang@bochs-ept")
def test_the_other_compiler_s_image_has_an_identity_of_its_own(boot):
    assert boot.report.build == build_of("build/clang/barvisor.efi") != build_of("build/barvisor.efi")


@pytest.mark.boot("q35")
def test_q35_has_acpi_two_cpus_and_memory_above_4_gib(boot):
    assert boot.find("boot: 2 CPUs, one is used; ACPI present"), boot.show(60)


@pytest.mark.parametrize("boot_name", WHOLE)
def test_flushes_are_carried_out(boot, boot_name):
    """Emulators drop every translation at a VM entry: a flush that is forgotten shows in the counts only."""
    counts = re.search(r"shoot-downs (\d+), invalidations (\d+)", boot.text())
    assert counts, "no counts of flushes" + boot.show()
    asked, done = map(int, counts.groups())
    # The duties of one exit (a BAR that moves) share a flush, and the first entry has one of its own; so has each
    # destroyed range of the stress group.
    assert 1000 <= done <= asked + 1, counts[0]
