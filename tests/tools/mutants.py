#!/usr/bin/env python3
"""make mutants: do the tests notice when the code is wrong?

Each tests/mutants/*.patch breaks the code on purpose. It is applied to a scratch copy of the tree under
build/mutants, the tree is built, and what the patch's header promises must turn red:

    Expect: unit test_ept           the unit program of that name fails
    Expect: guest ranges            a check of that guest group fails, or the guest does not get through it
    Expect: guest                   the guest run fails in any way
    Expect: emu test_oracle         a test of tests/emu/test_oracle.py fails
    Expect: emu test_fatal::x[y]    that test does, and only its boot is made
    Expect: build                   the compiler refuses it
    On: bochs-ept                   the machines of its "guest" lines; without this line one of each backend, and
                                    the promise must come true on all

Several lines mean several expectations, each of which must come true. Only what a patch names is run, one boot at
a time, so a mutant of the unit tests costs seconds. When the promise is broken, everything is run to tell a mutant
that survives from one that is caught elsewhere. MUTANTS="a b" (names) runs only these.
"""

import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRATCH = os.path.join(ROOT, "build/mutants/tree")
PATCHES = os.path.join(ROOT, "tests/mutants")
CONFIG = os.path.join(SCRATCH, "build/mutant.cfg")
DISK = os.path.join(SCRATCH, "build/mutant.img")
ON = re.compile(r"^On: *(.*?) *$", re.M)
EVERYWHERE = ["bochs-ept", "qemu-npt"]  # one machine of each backend
EXPECT = re.compile(r"^Expect: *(.*?) *$", re.M)
JOBS = os.cpu_count() or 1
sys.path.insert(0, os.path.join(ROOT, "tests/emu"))
import machine  # noqa: E402
# units.py with less patience: a failed ASSERT leaves its locks held, and the next test may spin on one.
UNITS = "import sys; sys.path.insert(0, 'tests/tools'); import units; units.SECONDS = 40; sys.exit(units.main())"


def call(*words, **more):
    return subprocess.run(words, cwd=SCRATCH, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                          **more)


def make(*goals):
    # The scratch copy has variables of its own; those that this make exports describe the outer tree.
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CFG", "TARGET", "MUTANTS")}
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


# ---- what is red in the scratch tree: words of the Expect lines with details, {what: detail} ----


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "?"


def red_build(goals):
    built = make(*goals)
    if not built.returncode:
        return {}
    errors = [line for line in built.stdout.splitlines() if "error" in line]
    return {"build": errors[0] if errors else last_line(built.stdout)}


def red_units(programs):
    """`programs`: names of unit programs; None: all of them."""
    if programs is None:
        units = make("units")
    else:
        paths = [f"build/host/tests/unit/{name}" for name in programs]
        found = red_build(paths)
        if found:
            return found
        units = call(sys.executable, "-c", UNITS, *paths)
    found = {}
    for program, detail in re.findall(r"^units: FAILED: (\w+): (.*)$", units.stdout, re.M):
        found.setdefault("unit " + program, detail)
    if units.returncode and not found:
        found["unit"] = last_line(units.stdout)
    return found


def red_guest_on(target, group):
    """One boot of the image on a target with a group of the guest's checks; None: with all of them."""
    with open(os.path.join(SCRATCH, "boot/barvisor.cfg")) as usual, open(CONFIG, "w") as config:
        text = re.sub(r"(?m)^cmdline *=.*$", f"cmdline = test={group or 'all'}", usual.read())
        config.write(machine.with_words(text, machine.target(target).words))
    call("bash", "tests/tools/mkimage.sh", "-e", "build/barvisor.efi", DISK, CONFIG, "build/guest.elf", check=True)
    run = call(sys.executable, "tests/emu/run.py", "--target", target, "--disk", DISK)
    found = {}
    for line in re.findall(r"^run: FAILED: (.*)$", run.stdout, re.M):
        check = re.match(r"not ok \d+ - ([\w.-]+)", line)
        if check:
            found.setdefault("guest " + check[1], line)
        found.setdefault("guest", line)
    if run.returncode and "guest" not in found:
        found["guest"] = last_line(run.stdout)
    # Not through its only group: that group's failure, whatever ended the run.
    if group and "guest" in found:
        found.setdefault("guest " + group, found["guest"])
    return found


def red_guest(group, targets):
    """What is red on all `targets`, by its own name; what is red on some only, with theirs."""
    found = red_build(["efi", "guest"])
    if found:
        return found
    by_target = {target: red_guest_on(target, group) for target in targets}
    for target, red in by_target.items():
        for what, detail in red.items():
            everywhere = all(what in other for other in by_target.values())
            found.setdefault(what if everywhere else f"{what} on {target}", detail)
    return found


def red_emu(name):
    found = red_build(["efi", "guest"])
    if found:
        return found
    module, _, test = name.partition("::")
    chosen = f"tests/emu/{module}.py" + (f"::{test}" if test else "")
    run = call(sys.executable, "-m", "pytest", "-q", "-x", chosen)
    failures = re.findall(r"^(?:FAILED|ERROR) (?:tests/emu/)?(.*)$", run.stdout, re.M)
    if failures:
        return {"emu " + name: failures[0]}
    return {"emu": last_line(run.stdout)} if run.returncode else {}  # pytest itself failed: nobody's promise


def red_as_promised(wanted, targets):
    """Run what the Expect lines name, the cheap parts first, and no more."""
    programs = [want[len("unit "):] for want in wanted if want.startswith("unit ")]
    found = red_build(["efi", "guest", "unit-programs"]) if "build" in wanted else {}
    if programs:
        found.update(red_units(programs))
    for want in wanted:
        kind, _, name = want.partition(" ")
        if kind == "guest" and want not in found:
            found.update(red_guest(name, targets))
        elif kind == "emu":
            found.update(red_emu(name))
    return found


def red_at_all(targets):
    """Everything; the guest only when nothing else is red."""
    return red_build(["efi", "guest", "unit-programs"]) or red_units(None) or red_guest(None, targets)


# ---- the mutants ----


def apply_patch(path, *options):
    return call("patch", "-p1", "-F1", "--no-backup-if-mismatch", *options, "-i", path)


def promise_of(name):
    """(what the patch's Expect lines say, the machines of its "guest" lines)"""
    with open(os.path.join(PATCHES, name + ".patch")) as patch:
        text = patch.read()
    on = ON.search(text)
    return EXPECT.findall(text), on[1].split() if on else EVERYWHERE


def try_mutant(name):
    """(verdict, detail) of one patch; the verdict is "red", "SURVIVED" or what else went wrong."""
    path = os.path.join(PATCHES, name + ".patch")
    wanted, targets = promise_of(name)
    if not wanted:
        return "NO EXPECT LINE", path
    tried = apply_patch(path, "--dry-run", "-f")
    if tried.returncode:
        return "DOES NOT APPLY", last_line(tried.stdout)
    apply_patch(path)
    try:
        found = red_as_promised(wanted, targets)
        missing = [want for want in wanted if want not in found]
        if missing:
            found = {**red_at_all(targets), **found}
    finally:
        apply_patch(path, "-R")
    if not missing:
        return "red", "; ".join(f"{want}: {found[want]}" for want in wanted)
    if not found:
        return "SURVIVED", "nothing turned red; expected: " + ", ".join(wanted)
    shown = "; ".join(f"{what}: {detail}" for what, detail in found.items())
    return "RED ELSEWHERE", f"not by {', '.join(missing)} but by {shown}"


def main():
    everything = sorted(name[:-6] for name in os.listdir(PATCHES) if name.endswith(".patch"))
    names = sys.argv[1:] or everything
    if not names:
        print("mutants: tests/mutants holds no patch")
        return 1
    os.makedirs(SCRATCH, exist_ok=True)
    copy_tree()
    print("mutants: first the tree as it is", flush=True)
    boots = sorted({want for name in names for want in promise_of(name)[0] if want.startswith("emu ")})
    found = red_at_all(EVERYWHERE) or red_as_promised(boots, EVERYWHERE)
    if found:
        for what, detail in found.items():
            print(f"mutants: red without any mutant: {what}: {detail}")
        return 1
    bad = 0
    for name in names:
        verdict, detail = try_mutant(name)
        bad += verdict != "red"
        print(f"{name:32} {verdict:14} {detail[:300]}", flush=True)
    print(f"mutants: {len(names) - bad} killed as expected, {bad} not")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
