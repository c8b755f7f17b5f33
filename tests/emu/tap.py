"""Judges what a boot wrote to the serial console.

The guest prints TAP (https://testanything.org, version 13 as far as used here): a plan "1..N", checks
"ok n - group: text" or "not ok n - group: text", comments "# ...", and at the very end the marker
"# barvisor-guest: done, P passed, F failed". The hypervisor puts "guest| " before each of the guest's lines
and ends with "vm: stopped: <cause>". A boot passes only if all of that is there and consistent: a silent
console, a missing check or an early end are failures.
"""

import re

GUEST_PREFIX = "guest| "
MARKER = re.compile(r"^# barvisor-guest: done, (\d+) passed, (\d+) failed$")
PLAN = re.compile(r"^1\.\.(\d+)$")
CHECK = re.compile(r"^(ok|not ok) (\d+)(?: - (.*))?$")
STOPPED = re.compile(r"^vm: stopped: (.*)$")
GUEST_ENDED = "the guest ended it"
ESCAPE = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]|\x1b[()][A-Z0-9]")


def clean(text):
    """Console bytes, decoded, to lines without terminal escapes."""
    return [line.rstrip() for line in ESCAPE.sub("", text.replace("\r", "\n")).split("\n") if line.strip()]


def guest_lines(lines):
    return [line[len(GUEST_PREFIX):] for line in lines if line.startswith(GUEST_PREFIX)]


class Report:
    """What one boot's console says. `problems` is empty when it passed."""

    def __init__(self, lines, expect_end=True):
        self.lines = lines
        self.guest = guest_lines(lines)
        self.plan = None
        self.checks = []  # (number, passed, text)
        self.marker = None
        self.stopped = None
        self.problems = []
        self._read()
        self._judge(expect_end)

    def _read(self):
        for line in self.guest:
            plan, check, marker = PLAN.match(line), CHECK.match(line), MARKER.match(line)
            if plan:
                if self.plan is not None:
                    self.problems.append("a second plan: " + line)
                self.plan = int(plan[1])
            elif check:
                self.checks.append((int(check[2]), check[1] == "ok", check[3] or ""))
                if self.marker:
                    self.problems.append("a check after the final marker: " + line)
            elif marker:
                if self.marker:
                    self.problems.append("a second final marker")
                self.marker = (int(marker[1]), int(marker[2]))
        for line in self.lines:
            stopped = STOPPED.match(line)
            if stopped:
                self.stopped = stopped[1]

    def _judge(self, expect_end):
        problems = self.problems
        for number, passed, text in self.checks:
            if not passed:
                problems.append(f"not ok {number} - {text}")
        if self.plan is None:
            problems.append("the guest printed no plan (1..N)")
        elif self.plan == 0:
            problems.append("the guest's plan is empty")
        else:
            numbers = [number for number, _, _ in self.checks]
            missing = sorted(set(range(1, self.plan + 1)) - set(numbers))
            if missing:
                problems.append(f"{len(missing)} of {self.plan} planned checks are missing, the first is {missing[0]}")
            if len(numbers) != len(set(numbers)):
                problems.append("a check number appears twice")
            if any(number < 1 or number > self.plan for number in numbers):
                problems.append("a check lies outside the plan")
        if self.marker is None:
            problems.append("the final marker '# barvisor-guest: done, ...' is missing")
        else:
            good = sum(1 for _, passed, _ in self.checks if passed)
            bad = len(self.checks) - good
            if self.marker != (good, bad):
                problems.append(f"the marker says {self.marker[0]} passed, {self.marker[1]} failed; the console "
                                f"shows {good} and {bad}")
            if self.marker[1]:
                problems.append(f"the guest counted {self.marker[1]} failed checks")
        if self.stopped is None:
            problems.append("the hypervisor's last line 'vm: stopped: ...' is missing")
        elif not STOPPED.match(self.lines[-1]):
            problems.append("'vm: stopped: ...' is not the last line")
        elif expect_end and not self.stopped.startswith(GUEST_ENDED):
            problems.append("the VM was stopped by: " + self.stopped)

    @property
    def passed(self):
        return not self.problems

    def groups(self):
        """Checks by group (the text before the first ':' or '/'), in order of appearance."""
        groups = {}
        for number, passed, text in self.checks:
            name = re.split(r"[:/ ]", text, maxsplit=1)[0] or "?"
            groups.setdefault(name, []).append((number, passed, text))
        return groups
