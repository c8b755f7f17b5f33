#!/usr/bin/env python3
"""make run: build, boot, show the console live, judge.

Exit 0 only when the guest printed its plan, every check of it passed, its final marker came and the
hypervisor reported the end of the VM.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402
import tap  # noqa: E402


# A configuration that leaves out what a check needs makes it skip, and says so.
CONFIG_MAY_SKIP = [(r"", why) for why in ["BAR4 is not configured", "no boot module", "no lab device",
                                          "no window of a device here",
                                          "no ivshmem device with the lab's section", "no edu device",
                                          "no ivshmem-plain device", "no two ivshmem-doorbell devices",
                                          "no bochs-display device"]]


# make run DEMO=name: what the machine is to run then.
DEMOS = {"display": "guest = \\guest.elf\nram = 64\ncmdline = test=demo\ndevice = bochs-display\nscreen = on\n"}
DEMO_TARGET = "qemu-npt"
WINDOW_SECONDS = 24 * 3600


def say(text):
    print(text, flush=True)


def choose(wanted, targets=None):
    """(target, why, [targets to try if it fails to start])"""
    targets = targets or machine.TARGETS
    if wanted:
        chosen = next((each for each in targets if each.name == wanted), None)
        if not chosen:
            sys.exit(f"target: {wanted} is not one of: {', '.join(each.name for each in targets)}")
        why = chosen.lacks()
        if why:
            sys.exit(f"target: {wanted} cannot run here: {why}")
        return chosen, "TARGET asks for it", []
    reasons, usable = [], []
    for each in targets:
        why = each.lacks()
        if why:
            reasons.append(f"{each.name}: {why}")
        else:
            usable.append(each)
    if not usable:
        sys.exit("target: none can run here: " + "; ".join(reasons))
    usable.sort(key=lambda each: each.tables != machine.EPT)  # stable: the table's order otherwise
    return usable[0], "; ".join(reasons) or f"it is the first with {usable[0].tables} that can run here", usable[1:]


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


def has_window(target):
    """Can somebody look at this machine's screen?"""
    return target.name.startswith("qemu") and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def demo_disk(demo, target, directory):
    """With a window the guest stays at the end, until somebody closes it."""
    words = " ".join(filter(None, [target.words, "hold" if has_window(target) else ""]))
    return machine.make_disk(directory, machine.with_words(DEMOS[demo], words))


def disk_for(target, directory, demo=""):
    """The disk that make built, or one of its own for a target whose guest must be told something."""
    disk = os.path.join(machine.ROOT, "build/barvisor.img")
    if demo:
        return demo_disk(demo, target, directory)
    if not target.words:
        return disk
    with open(os.path.join(machine.ROOT, os.environ.get("CFG") or "boot/barvisor.cfg")) as config:
        return machine.make_disk(directory, machine.with_words(config.read(), target.words))


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


def boot(target, disk, phases, window=False):
    """One boot. Returns the problems found; [] is a pass. None when the machine did not even start."""
    console = Console()
    with target.make(disk, **({"window": True, "seconds": WINDOW_SECONDS} if window else {})) as computer:
        computer.run(console.line)
        total = time.monotonic() - computer.started
        spoke = console.hypervisor_at
        phases.add("power-on to hypervisor", spoke if spoke is not None else total)
        if spoke is not None:
            first = console.guest_at
            phases.add("hypervisor to guest", (first if first is not None else total) - spoke)
            if first is not None:
                phases.add("guest run", total - first)
        problems = [] if window and spoke is not None else computer.problems()  # a window may be closed at any time
        if spoke is None and problems and not computer.timed_out:
            say(f"target: {target.name} did not start: {problems[0]}")
            return None
        report = tap.Report(computer.lines(), expect_end=not window, may_skip=target.may_skip + CONFIG_MAY_SKIP)
        if report.passed and not problems:
            skipped = len(report.skipped())
            say(f"run: {len(report.checks) - skipped} checks passed, {skipped} skipped on {target.name}")
        return problems + report.problems


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default=os.environ.get("TARGET", ""))
    parser.add_argument("--targets", action="store_true", help="list the targets and why one cannot run here")
    parser.add_argument("--demo", default="", choices=["", *DEMOS], help="something to look at")
    parser.add_argument("--disk", help="boot this disk instead of building build/barvisor.img")
    parser.add_argument("--since", type=int, help="when the check of the packages began, in ns since 1970")
    options = parser.parse_args()
    if options.targets:
        list_targets()
        return 0
    phases = Phases()
    if options.since:
        phases.add("packages", time.time() - options.since / 1e9)
    if not options.disk:
        try:
            build("efi")
            build("guest")
            phases.step("build")
            if not options.demo:
                build("disk")
                phases.step("disk")
        except subprocess.CalledProcessError:
            say("run: the build failed")
            return 1
    target, why, others = choose(options.target or (DEMO_TARGET if options.demo else ""))
    if options.demo and not options.target:
        why = "it can show a picture"
    window = bool(options.demo) and has_window(target)
    with tempfile.TemporaryDirectory(prefix="barvisor-disk-") as directory:
        while True:
            say(f"target: {target.name} because {why}")
            problems = boot(target, options.disk or disk_for(target, directory, options.demo), phases, window)
            if problems is not None or not others:
                break
            why = f"{target.name} did not start"
            target, others = others[0], others[1:]
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
