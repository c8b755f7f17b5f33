"""make gdb: the debugger stops where the source says, before and after the hypervisor has its own tables."""

import os
import subprocess
import sys

import machine


def test_gdb_knows_the_image_at_its_run_time_address():
    script = os.path.join(machine.ROOT, "tests/emu/debug.py")
    words = ["-batch", "-ex", "bt 1", "-ex", "hbreak vm_exit", "-ex", "continue", "-ex", "bt 1", "-ex", "kill"]
    done = subprocess.run([sys.executable, script, "--gdb", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=120)
    stops = [line for line in done.stdout.splitlines() if line.startswith("#0 ")]
    assert len(stops) == 2, done.stdout
    assert "efi_main (" in stops[0], done.stdout  # the line may be that of an inlined instruction
    assert "vm_exit (" in stops[1] and "hv/vm/exit.c:" in stops[1], done.stdout
