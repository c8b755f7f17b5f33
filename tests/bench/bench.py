#!/usr/bin/env python3
"""make bench: instructions per operation, against the budgets.

Bochs with one CPU counts one tick per instruction and repeats itself exactly. So two boots must give the same
numbers; a difference is an error like an exceeded budget. The guest prints "# bench <name> <value>", the
hypervisor "bench: <name> <value>". The numbers go to one flat object per backend: build/bench.json (EPT) and
build/bench-npt.json, with the same names and the same budgets.
"""

import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/emu"))
import machine  # noqa: E402
import tap  # noqa: E402

MIB = 1 << 20
RECORDS = {"bochs-ept": "build/bench.json", "bochs-npt": "build/bench-npt.json"}
# name: (at most, what it is). None: shown, not judged.
BUDGETS = {
    "cpuid_exit": (120, "CPUID exit round trip"),
    "mmio_read_4": (400, "trapped 4-byte MMIO read, handled in the hypervisor"),
    "mmio_write_4": (400, "trapped 4-byte MMIO write, likewise"),
    "mmio_read_4_64_regions": (None, "mmio_read_4 with 66 other regions, of another one than the last"),
    "doorbell_write": (250, "a write that a doorbell takes, one of four at its offset"),
    "mmio_read_1": (None, "trapped 1-byte read"),
    "mmio_read_8": (None, "trapped 8-byte read"),
    "mmio_write_8_imm": (None, "trapped 8-byte write of an immediate"),
    "mmio_rmw_lock_or": (None, "LOCK OR on a trapped register"),
    "mmio_rep_movsd_per_element": (None, "REP MOVSD of 64 trapped elements, for each"),
    "mmio_sse_store_16": (None, "trapped 16-byte store, two pieces"),
    "apic_eoi": (400, "end of interrupt in the local APIC's page"),
    "config_read": (None, "IN of 4 bytes from the port of configuration data"),
    "msi_deliver_to_isr": (None, "from the store that has a device send an MSI to the guest's handler"),
    "bar_move_16_ranges": (None, "a BAR with 16 ranges moved, decode on: the write of its base"),
    "map_1_page": (800, "map one page into a running guest's BAR"),
    "unmap_1_page": (800, "unmap it again"),
    "map_1_gib_2m_leaves": (15000, "map 1 GiB, 2 MiB leaves"),
    "map_1_gib_1g_leaf": (1000, "map 1 GiB, one 1 GiB leaf"),
    "map_512_pages_4k_leaves": (None, "map 2 MiB by 4 KiB leaves"),
    "replace_1_page": (None, "replace a live page by one of another section"),
    "unmap_middle_of_2m": (None, "unmap one page inside a 2 MiB leaf"),
    "batch_64_replace": (10000, "atomic batch, 64 scattered pages replaced"),
    "map_with_100_ranges": (None, "map one page among 100 other ranges"),
    "map_with_10000_ranges": (None, "map one page among 10000 other ranges"),
    "unmap_with_100_ranges": (None, "unmap one page among 100 other ranges"),
    "unmap_with_10000_ranges": (None, "unmap one page among 10000 other ranges"),
    "toggle_decode_1000_ranges": (None, "memory decode off and on with 1000 one-page ranges"),
    "aperture_create": (None, "an aperture of one page"),
    "view_map_1_page": (None, "a view of one page"),
    "direct_read_exits": (0, "exits of a read from a direct page"),
    "image_bytes": (256 << 10, "the image"),
    "hypervisor_bytes": (4 * MIB, "hypervisor memory besides guest RAM and sections"),
    "boot_instructions": (None, "from entry of the image to the guest's first instruction"),
}
# A nested page fault does not tell the linear address, so the guest's tables are compared for the operand too.
BUDGETS_OF = {"bochs-npt": {"doorbell_write": (300, BUDGETS["doorbell_write"][1])}}
VALUE = re.compile(r"^(?:guest\| # bench|bench:) (\w+) (\d+)$")


def measure(name, disk):
    """One boot on the target `name`: (numbers, problems)."""
    target = machine.target(name)
    with target.make(disk) as computer:
        computer.run()
        lines = computer.lines()
        problems = computer.problems() + tap.Report(lines, may_skip=target.may_skip).problems
    numbers = {}
    for line in lines:
        match = VALUE.match(line)
        if match:
            numbers[match[1]] = int(match[2])
    return numbers, problems


def judge(budgets, first, second):
    """Problems of two boots' numbers."""
    problems = []
    for name in sorted(set(first) | set(second)):
        if first.get(name) != second.get(name):
            problems.append(f"{name} differs between two boots: {first.get(name)} and {second.get(name)}")
    for name, (most, _) in budgets.items():
        if name not in first:
            problems.append(f"{name} was not measured")
        elif first[name] == 0 and most != 0:
            problems.append(f"{name} is 0: it was not measured")
        elif most is not None and first[name] > most:
            problems.append(f"{name} is {first[name]}, the budget is {most}")
    return problems


def show(name, budgets, numbers):
    print(f"{name:24} {'measured':>10} {'budget':>10}")
    for row in list(budgets) + sorted(set(numbers) - set(budgets)):
        most, what = budgets.get(row, (None, ""))
        value = numbers.get(row, "-")
        print(f"{row:24} {value:>10} {'-' if most is None else most:>10}  {what}")


def record(name, boots):
    """Judge, write and show two boots of one target; returns the problems."""
    (first, problems), (second, more) = boots
    budgets = BUDGETS | BUDGETS_OF.get(name, {})
    first["image_bytes"] = second["image_bytes"] = os.path.getsize(os.path.join(ROOT, "build/barvisor.efi"))
    problems = problems + more + judge(budgets, first, second)
    with open(os.path.join(ROOT, RECORDS[name]), "w") as out:
        json.dump(first, out, indent=1, sort_keys=True)
        out.write("\n")
    show(name, budgets, first)
    return [f"{name}: {problem}" for problem in problems]


def main():
    disk = os.path.join(ROOT, "build/bench.img")
    with open(os.path.join(ROOT, "tests/bench/bench.cfg")) as config:
        machine.make_disk(os.path.dirname(disk), config.read(), name=os.path.basename(disk))
    with ThreadPoolExecutor(2) as pool:
        boots = {name: [pool.submit(measure, name, disk) for _ in range(2)] for name in RECORDS}
    problems = [problem for name, pair in boots.items() for problem in record(name, [each.result() for each in pair])]
    for problem in problems:
        print("bench: FAILED: " + problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
