#!/usr/bin/env python3
"""make mutants: do the tests notice when the code is wrong?

Each tests/mutants/*.patch breaks the code on purpose. It is applied to a scratch copy of the tree under
build/mutants, the units run, and then, unless they showed all, the guest run in Bochs. Something must turn red, and it must be what the
patch's header promises:

    Expect: unit test_ept           a unit program with that name fails
    Expect: guest ranges            a check of that guest group fails
    Expect: guest                   the guest run fails in any way
    Expect: build                   the compiler refuses it

Several lines mean several expectations, each of which must come true. MUTANTS="a b" (names) runs only these.
"""

import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRATCH = os.path.join(ROOT, "build/mutants/tree")
PATCHES = os.path.join(ROOT, "tests/mutants")
EXPECT = re.compile(r"^Expect: *(.*?) *$", re.M)
JOBS = os.cpu_count() or 1


def call(*words, **more):
    return subprocess.run(words, cwd=SCRATCH, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                          **more)


def make(*goals):
    # The scratch copy has variables of its own; those that this make exports describe the outer tree.
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CFG", "TARGET")}
    return call("make", "--no-print-directory", f"-j{JOBS}", "PACKAGES=none", *goals, env=environment)


def copy_tree():
    """The tree as it is now, changes and new files included, without what git ignores."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE).stdout.decode()
    names = {name for name in listed.split("\0") if name and os.path.exists(os.path.join(ROOT, name))}
    for name in sorted(names):
        source, copy = os.path.join(ROOT, name), os.path.join(SCRATCH, name)
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        with open(source, "rb") as old:
            same = os.path.exists(copy) and open(copy, "rb").read() == old.read()
        if not same:
            shutil.copy(source, copy)  # with a new time, so that make sees it
    for directory, _, files in os.walk(SCRATCH):
        for name in files:
            path = os.path.relpath(os.path.join(directory, name), SCRATCH)
            if path not in names and not path.startswith("build/"):
                os.remove(os.path.join(SCRATCH, path))


def red(wanted=()):
    """What fails in the scratch tree, as words of the Expect lines with details: {what: detail}.

    The boot is left out when the units have shown all that is wanted.
    """
    found = {}
    built = make("efi", "guest", "disk", "unit-programs")
    if built.returncode:
        errors = [line for line in built.stdout.splitlines() if "error" in line] or built.stdout.splitlines()[-1:]
        return {"build": errors[0] if errors else "?"}
    units = make("units")
    for program, detail in re.findall(r"^units: FAILED: (\w+): (.*)$", units.stdout, re.M):
        found.setdefault("unit " + program, detail)
    if units.returncode and not found:
        found["unit"] = units.stdout[-200:]
    if wanted and all(want in found for want in wanted):
        return found
    run = call(sys.executable, "tests/emu/run.py", "--target", "bochs-ept", "--disk",
               os.path.join(SCRATCH, "build/barvisor.img"))
    for line in re.findall(r"^run: FAILED: (.*)$", run.stdout, re.M):
        check = re.match(r"not ok \d+ - ([\w.-]+)", line)
        if check:
            found.setdefault("guest " + check[1], line)
        found.setdefault("guest", line)
    if run.returncode and "guest" not in found:
        found["guest"] = run.stdout[-200:]
    return found


def try_mutant(name):
    """(verdict, detail) of one patch; the verdict is "red", "SURVIVED" or what else went wrong."""
    path = os.path.join(PATCHES, name + ".patch")
    with open(path) as patch:
        text = patch.read()
    wanted = EXPECT.findall(text)
    if not wanted:
        return "NO EXPECT LINE", path
    applied = call("patch", "-p1", "--no-backup-if-mismatch", "-i", path)
    if applied.returncode:
        call("patch", "-R", "-p1", "--no-backup-if-mismatch", "-f", "-i", path)
        return "DOES NOT APPLY", applied.stdout.strip().splitlines()[-1]
    try:
        found = red(wanted)
    finally:
        call("patch", "-R", "-p1", "--no-backup-if-mismatch", "-i", path)
    if not found:
        return "SURVIVED", "nothing turned red; expected: " + ", ".join(wanted)
    missing = [want for want in wanted if want not in found]
    shown = "; ".join(f"{what}: {detail}" for what, detail in found.items())
    if missing:
        return "RED ELSEWHERE", f"not by {', '.join(missing)} but by {shown}"
    return "red", "; ".join(f"{want}: {found[want]}" for want in wanted)


def main():
    everything = sorted(name[:-6] for name in os.listdir(PATCHES) if name.endswith(".patch"))
    names = sys.argv[1:] or everything
    if not names:
        print("mutants: tests/mutants holds no patch")
        return 1
    os.makedirs(SCRATCH, exist_ok=True)
    copy_tree()
    print("mutants: first the tree as it is", flush=True)
    found = red()
    if found:
        for what, detail in found.items():
            print(f"mutants: red without any mutant: {what}: {detail}")
        return 1
    bad = 0
    for name in names:
        verdict, detail = try_mutant(name)
        bad += verdict != "red"
        print(f"{name:32} {verdict:14} {detail[:160]}", flush=True)
    print(f"mutants: {len(names) - bad} killed as expected, {bad} not")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
