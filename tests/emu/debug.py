#!/usr/bin/env python3
"""make debug, make gdb: a debugger with the hypervisor's symbols, stopped at efi_main.

    debug.py                     Bochs' own debugger on bochs-ept
    debug.py --gdb [ARGUMENTS]   gdb on qemu-npt, through QEMU's stub; the arguments go to gdb after the set-up

Firmware chooses where the image lies, and on the same machine it chooses alike. So a first boot reads the address
from the console ("boot: image at 0x...") and the second, interactive one puts symbols and breakpoint there.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402

LOADED = r"^boot: image at 0x([0-9a-f]+)"
STOP_AT = "efi_main"
STUB_SECONDS = 10


def learn(target, disk):
    """Where the image is loaded."""
    with target.make(disk, until=LOADED) as computer:
        computer.run()
        found = [match for match in (re.match(LOADED, line) for line in computer.lines()) if match]
    if not found:
        sys.exit("debug: the image did not say where it is ('boot: image at 0x...')")
    return int(found[0][1], 16)


def symbols(elf, base, path):
    """Bochs' symbol file: absolute addresses. Returns name -> address."""
    listing = subprocess.run(["nm", "--defined-only", "-n", elf], check=True, stdout=subprocess.PIPE, text=True).stdout
    table = {}
    with open(path, "w") as out:
        for row in listing.splitlines():
            address, _, name = row.split()
            table[name] = base + int(address, 16)
            out.write(f"{table[name]:x} {name}\n")
    return table


def bochs(computer, elf, base, _):
    computer.prepare()
    table = symbols(elf, base, computer.path("symbols.txt"))
    computer.script = f'ldsym global "{computer.path("symbols.txt")}"\nlb 0x{table[STOP_AT]:x}\nc\n'
    print(f"debug: image at {base:#x}, console in {computer.path('serial.txt')}")
    print("debug: u / r / info tab / page ADDRESS / x / s / c / q; symbols work in quotes: lb \"vm_exit\"", flush=True)
    return subprocess.run(computer.command(), cwd=computer.directory).returncode


def gdb(computer, elf, base, arguments):
    """The stub listens on a socket file, so that no port can be taken."""
    with tempfile.TemporaryDirectory(prefix="barvisor-gdb-") as directory:
        stub = os.path.join(directory, "stub")
        computer.extra += ["-chardev", f"socket,id=stub,path={stub},server=on,wait=off", "-gdb", "chardev:stub", "-S"]
        computer.start()
        end = time.monotonic() + STUB_SECONDS
        while not os.path.exists(stub):
            if time.monotonic() > end or computer.process.poll() is not None:
                sys.exit("debug: QEMU did not start: " + computer.output().strip())
            time.sleep(0.02)
        setup = ["set confirm off", "set pagination off", "set architecture i386:x86-64",
                 f"add-symbol-file {elf} -o {base:#x}", f"target remote {stub}", f"hbreak {STOP_AT}", "continue"]
        print(f"debug: image at {base:#x}, console in {computer.path('serial.txt')}", flush=True)
        commands = [word for line in setup for word in ("-ex", line)]
        return subprocess.run(["gdb", "-q", "-nx", *commands, *arguments], cwd=machine.ROOT).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disk", default=os.path.join(machine.ROOT, "build/barvisor.img"))
    parser.add_argument("--elf", default=os.path.join(machine.ROOT, "build/barvisor.elf"))
    parser.add_argument("--gdb", nargs=argparse.REMAINDER, help="gdb on qemu-npt; what follows goes to gdb")
    options = parser.parse_args()
    name, debugger = ("bochs-ept", bochs) if options.gdb is None else ("qemu-npt", gdb)
    target = machine.target(name)
    if target.lacks():
        sys.exit(f"debug: {name} cannot run here: {target.lacks()}")
    print("debug: a first boot learns where firmware puts the image ...", flush=True)
    base = learn(target, options.disk)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the debugger
    with target.make(options.disk) as computer:
        return debugger(computer, options.elf, base, options.gdb)


if __name__ == "__main__":
    sys.exit(main())
