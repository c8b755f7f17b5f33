#!/usr/bin/env python3
"""Run the host tests (cmocka programs) and count their checks.

Each program prints TAP. A program that dies, stops early or prints no plan is a failure of its own.
"""

import os
import re
import subprocess
import sys

SECONDS = 300


def run(program):
    """(passed, [failures]) of one program."""
    name = os.path.basename(program)
    environment = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", UBSAN_OPTIONS="print_stacktrace=1")
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
                              timeout=SECONDS, errors="replace")
    except subprocess.TimeoutExpired:
        return 0, [f"{name}: no end after {SECONDS} s"]
    except OSError as error:
        return 0, [f"{name}: {error}"]
    planned = sum(int(count) for count in re.findall(r"^1\.\.(\d+)", done.stdout, re.M))
    good = len(re.findall(r"^ok \d+", done.stdout, re.M))
    failures = [f"{name}: {line}" for line in re.findall(r"^not ok .*$", done.stdout, re.M)]
    if good + len(failures) != planned or planned == 0:
        failures.append(f"{name}: {planned} checks planned, {good + len(failures)} ran")
    if done.returncode and not failures:
        failures.append(f"{name}: exit code {done.returncode}")
    if failures:
        sys.stdout.write(done.stdout[-4000:] + done.stderr[-8000:])
    return good, failures


def run_all(programs):
    total, failures = 0, []
    for program in programs:
        good, bad = run(program)
        print(f"  {'ok' if not bad else 'FAILED':7} {os.path.basename(program)}: {good} passed, {len(bad)} failed",
              flush=True)
        total += good
        failures += bad
    return total, failures


def main():
    passed, failures = run_all(sys.argv[1:])
    for failure in failures:
        print("units: FAILED: " + failure)
    print(f"units: {passed} passed, {len(failures)} failed")
    # No programs at all is no pass.
    return 1 if failures or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
