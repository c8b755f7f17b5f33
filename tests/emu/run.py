#!/usr/bin/env python3
"""make run: build, boot, show the console live, judge.

Exit 0 only when the guest printed its plan, every check of it passed, its final marker came and the
hypervisor reported the end of the VM.
"""

import argparse
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402
import tap  # noqa: E402


def say(text):
    print(text, flush=True)


def choose(wanted):
    """(target, why, [targets to try if it fails to start])"""
    if wanted:
        try:
            chosen = machine.target(wanted)
        except KeyError:
            names = ", ".join(each.name for each in machine.TARGETS)
            sys.exit(f"target: {wanted} is not one of: {names}")
        why = chosen.lacks()
        if why:
            sys.exit(f"target: {wanted} cannot run here: {why}")
        return chosen, "TARGET asks for it", []
    reasons, usable = [], []
    for each in machine.TARGETS:
        why = each.lacks() if each.automatic else "only on request"
        if why:
            reasons.append(f"{each.name}: {why}")
        else:
            usable.append(each)
    if not usable:
        sys.exit("target: none can run here: " + "; ".join(reasons))
    return usable[0], "; ".join(reasons) or "it is the fastest one that can run here", usable[1:]


def list_targets():
    for each in machine.TARGETS:
        why = each.lacks()
        say(f"{each.name:10} {'available' if not why else 'not here: ' + why}")
        say(f"{'':10} {each.what}")


class Phases:
    """What took how long, in order."""

    def __init__(self):
        self.rows = []
        self.last = time.monotonic()

    def add(self, name, seconds):
        self.rows.append((name, seconds))

    def step(self, name):
        now = time.monotonic()
        self.add(name, now - self.last)
        self.last = now

    def show(self):
        say("time: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.rows))


def build(goal):
    subprocess.run(["make", "--no-print-directory", "-C", machine.ROOT, f"-j{os.cpu_count() or 1}", "PACKAGES=none",
                    goal], check=True)


class Console:
    """Streams lines and notes when the hypervisor and the guest first spoke."""

    def __init__(self):
        self.hypervisor_at = None
        self.guest_at = None

    def line(self, text, seconds):
        if self.hypervisor_at is None and text.startswith("boot: "):
            self.hypervisor_at = seconds
        if self.guest_at is None and text.startswith(tap.GUEST_PREFIX):
            self.guest_at = seconds
        say(text)


def boot(target, disk, phases):
    """One boot. Returns the problems found; [] is a pass. None when the machine did not even start."""
    console = Console()
    with target.make(disk) as computer:
        computer.run(console.line)
        total = time.monotonic() - computer.started
        spoke = console.hypervisor_at
        phases.add("power-on to hypervisor", spoke if spoke is not None else total)
        if spoke is not None:
            first = console.guest_at
            phases.add("hypervisor to guest", (first if first is not None else total) - spoke)
            if first is not None:
                phases.add("guest run", total - first)
        problems = computer.problems()
        if spoke is None and problems and not computer.timed_out:
            say(f"target: {target.name} did not start: {problems[0]}")
            return None
        report = tap.Report(computer.lines())
        if report.passed and not problems:
            say(f"run: {len(report.checks)} checks passed on {target.name}")
        return problems + report.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default=os.environ.get("TARGET", ""))
    parser.add_argument("--targets", action="store_true", help="list the targets and why one cannot run here")
    parser.add_argument("--disk", help="boot this disk instead of building build/barvisor.img")
    parser.add_argument("--since", type=int, help="when the check of the packages began, in ns since 1970")
    options = parser.parse_args()
    if options.targets:
        list_targets()
        return 0
    phases = Phases()
    if options.since:
        phases.add("packages", time.time() - options.since / 1e9)
    disk = options.disk
    if not disk:
        try:
            build("efi")
            build("guest")
            phases.step("build")
            build("disk")
            phases.step("disk")
        except subprocess.CalledProcessError:
            say("run: the build failed")
            return 1
        disk = os.path.join(machine.ROOT, "build/barvisor.img")
    target, why, others = choose(options.target)
    while True:
        say(f"target: {target.name} because {why}")
        problems = boot(target, disk, phases)
        if problems is None and others:
            why = f"{target.name} did not start"
            target, others = others[0], others[1:]
            continue
        break
    phases.show()
    if problems is None:
        problems = ["no machine started"]
    for problem in problems[:40]:
        say("run: FAILED: " + problem)
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
