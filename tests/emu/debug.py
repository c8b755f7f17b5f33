#!/usr/bin/env python3
"""make debug: the Bochs debugger with the hypervisor's symbols, stopped at efi_main.

Firmware chooses where the image lies. With one CPU Bochs repeats itself exactly, so a first boot reads the
address from the console ("boot: image at 0x...") and the second, interactive one sets its breakpoint there.
"""

import argparse
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402

LOADED = re.compile(r"^boot: image at 0x([0-9a-f]+)", re.M)
STOP_AT = "efi_main"


class Enough(Exception):
    """The first boot has said what it was started for."""


def learn(disk):
    """Where the image is loaded."""
    found = []

    def line(text, _):
        match = LOADED.match(text)
        if match:
            found.append(int(match[1], 16))
            raise Enough

    with machine.Bochs(disk) as computer:
        try:
            computer.run(line)
        except Enough:
            pass
    if not found:
        sys.exit("debug: the image did not say where it is ('boot: image at 0x...')")
    return found[0]


def symbols(elf, base, path):
    """The debugger's symbol file: absolute addresses. Returns name -> address."""
    listing = subprocess.run(["nm", "--defined-only", "-n", elf], check=True, stdout=subprocess.PIPE, text=True).stdout
    table = {}
    with open(path, "w") as out:
        for row in listing.splitlines():
            address, _, name = row.split()
            table[name] = base + int(address, 16)
            out.write(f"{table[name]:x} {name}\n")
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disk", default=os.path.join(machine.ROOT, "build/barvisor.img"))
    parser.add_argument("--elf", default=os.path.join(machine.ROOT, "build/barvisor.elf"))
    options = parser.parse_args()
    print("debug: a first boot learns where firmware puts the image ...", flush=True)
    base = learn(options.disk)
    computer = machine.Bochs(options.disk)
    computer.prepare()
    try:
        table = symbols(options.elf, base, computer.path("symbols.txt"))
        computer.script = f'ldsym global "{computer.path("symbols.txt")}"\nlb 0x{table[STOP_AT]:x}\nc\n'
        print(f"debug: image at {base:#x}, console in {computer.path('serial.txt')}")
        print("debug: u / r / info tab / page ADDRESS / x / s / c / q; symbols work in quotes: lb \"vm_exit\"", flush=True)
        return subprocess.run(computer.command(), cwd=computer.directory).returncode
    finally:
        computer.clean()


if __name__ == "__main__":
    sys.exit(main())
